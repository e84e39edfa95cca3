//! The headers of a SYN, kept for the program that accepts the connection (`TCP_SAVE_SYN`).

mod common;

use common::*;
use coracle_tcpip::*;

const PORT: u16 = 80;

/// The frames from host 1 of a connection to host 2, whose listener saves SYNs as `kind` says; and what it saved.
fn saved(kind: u8) -> (Vec<u8>, Option<Vec<u8>>) {
    let (client, server) = (stack(1, PLAIN, Limits::default()), stack(2, PLAIN, Limits::default()));
    let listener = server.tcp_socket(Told::default()).unwrap();
    server.tcp_set_options(&listener, SECOND, |options| options.save_syn = kind);
    server.tcp_bind(&listener, at(2, PORT)).unwrap();
    server.tcp_listen(&listener, SECOND, 1).unwrap();
    let socket = client.tcp_socket(Told::default()).unwrap();
    let _ = client.tcp_connect(&socket, SECOND, at(2, PORT));
    let mut frames = Vec::new();
    for _ in 0..6 {
        for (from, to) in [(&client, &server), (&server, &client)] {
            let sent = std::mem::take(&mut *from.device().sent.lock().unwrap());
            frames.extend(sent.iter().map(|frame| frame.bytes.clone()));
            sent.iter().for_each(|frame| to.receive(SECOND, rx(frame)));
            to.poll(SECOND);
        }
    }
    let accepted = server.tcp_accept(&listener, SECOND, Told::default).unwrap();
    let headers = accepted.saved_syn().map(|headers| headers.to_vec());
    accepted.forget_saved_syn();
    assert_eq!(accepted.saved_syn(), None);
    // Protocol 6, SYN alone.
    let syn = frames.into_iter().find(|f| f[12..14] == [8, 0] && f[23] == 6 && f[47] == 2).unwrap();
    (syn, headers)
}

#[test]
fn headers_are_kept_as_they_came() {
    assert_eq!(saved(0).1, None);
    let (syn, headers) = saved(1);
    assert_eq!(headers.as_deref(), Some(&syn[14..]));
    let (syn, headers) = saved(2);
    assert_eq!(headers, Some(syn));
}
