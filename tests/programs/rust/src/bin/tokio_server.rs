//! A tokio echo server on the port given, for the application tests; it ends when a client says "quit".
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|p| p.parse().ok()).unwrap_or(7000);
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    println!("listening on {port}");
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<()>(1);
    loop {
        let (mut stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = receiver.recv() => return Ok(()),
        };
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 65536];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if &buffer[..n] == b"quit\n" {
                    let _ = sender.send(()).await;
                    return;
                }
                if stream.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        });
    }
}
