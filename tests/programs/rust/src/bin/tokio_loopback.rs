//! A tokio server and its clients in one program: tasks, timers, channels, files, signals.
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..n]).await.unwrap();
                }
            });
        }
    });
    let (sender, mut receiver) = mpsc::channel(8);
    for i in 0..100u32 {
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let data = i.to_le_bytes().repeat(500);
            stream.write_all(&data).await.unwrap();
            let mut back = vec![0; data.len()];
            stream.read_exact(&mut back).await.unwrap();
            sender.send(back == data).await.unwrap();
        });
    }
    drop(sender);
    let mut good = 0;
    while let Some(ok) = receiver.recv().await {
        good += u32::from(ok);
    }
    println!("{good} clients");
    let start = Instant::now();
    let sleeps: Vec<_> = (0..200).map(|i| tokio::spawn(tokio::time::sleep(Duration::from_millis(20 + i % 10)))).collect();
    for sleep in sleeps {
        sleep.await.unwrap();
    }
    println!("{}", start.elapsed() >= Duration::from_millis(29) && start.elapsed() < Duration::from_secs(10));
    println!("{}", tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.is_err());
    tokio::fs::write("/tmp/coracle-tokio", b"async file").await?;
    println!("{}", tokio::fs::read_to_string("/tmp/coracle-tokio").await?);
    tokio::fs::remove_file("/tmp/coracle-tokio").await?;
    let (a, b) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    a.send_to(b"hi", b.local_addr()?).await?;
    let mut buffer = [0; 8];
    println!("{}", b.recv_from(&mut buffer).await?.0);
    println!("{}", tokio::task::spawn_blocking(|| 6 * 7).await?);
    Ok(())
}
