//! Rust's std::net: TCP and UDP over the loopback, time-outs, shutdown, many clients.
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(20) {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).unwrap();
                all.reverse();
                stream.write_all(&all).unwrap();
            });
        }
    });
    let clients: Vec<_> = (0..20u8)
        .map(|i| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let data: Vec<u8> = (0..50_000u32).map(|k| (k as u8).wrapping_mul(i)).collect();
                stream.write_all(&data).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut back = Vec::new();
                stream.read_to_end(&mut back).unwrap();
                back.reverse();
                back == data
            })
        })
        .collect();
    println!("{}", clients.into_iter().filter(|_| true).map(|c| c.join().unwrap()).filter(|ok| *ok).count());
    server.join().unwrap();
    let refused = TcpStream::connect(address).unwrap_err();
    println!("{:?}", refused.kind());
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_millis(30)))?;
    println!("{}", matches!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    listener.set_nonblocking(true)?;
    println!("{}", listener.accept().is_ok());
    println!("{:?}", listener.accept().unwrap_err().kind());
    let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    a.connect(b.local_addr()?)?;
    a.send(b"datagram")?;
    let mut buffer = [0; 64];
    let (n, from) = b.recv_from(&mut buffer)?;
    println!("{} {}", String::from_utf8_lossy(&buffer[..n]), from == a.local_addr()?);
    Ok(())
}
