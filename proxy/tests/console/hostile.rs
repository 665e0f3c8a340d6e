//! VNC servers that mean harm, or nothing at all.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::screen::Screen;
use crate::world::{BOUND, World, grant, token};

/// What the page is told when the server says `script`, each part after something was read.
async fn told(script: &[&[u8]]) -> (u16, String) {
    let mut screen = Screen::raw().await;
    let mut strict = grant("g-1", screen.address);
    strict["backend"]["password"] = json!("secret");
    strict["backend"]["unencrypted"] = json!("password");
    let mut world = World::new(&[strict]);
    world.slice["settings"] = json!({ "handshake_seconds": 1 });
    world.apply().unwrap();
    let mut browser = world.browser();
    assert_eq!(browser.ask(&token("g-1")).await.0, 200);
    let mut socket = browser.open("g-1").await.unwrap();
    let mut server = screen.next().await;
    for part in script {
        server.write_all(part).await.unwrap();
        let mut buffer = [0; 1024];
        // an error when it has had enough of us
        let _length = server.read(&mut buffer).await;
    }
    socket.closed().await
}

#[tokio::test]
async fn each_way_to_be_no_vnc_server_has_its_answer() {
    let v38: &[u8] = b"RFB 003.008\n";
    for (script, code, name) in [
        (vec![b"HTTP/1.1 400 Bad Request\r\n".as_slice()], 4204, "screen-protocol"),
        (vec![v38, &[1, 1]], 4204, "screen-security"),
        (vec![v38, &[3, 1, 16, 30]], 4204, "screen-security"),
        (vec![v38, &[0, 0, 0, 0, 4, b'b', b'u', b's', b'y']], 4102, "screen-refused"),
        (
            vec![v38, &[1, 2], &[7; 16], &[0, 0, 0, 1, 0, 0, 0, 2, b'n', b'o']],
            4201,
            "screen-credentials",
        ),
        (vec![v38, &[255]], 4102, "screen-lost"),
        (vec![], 4102, "screen-lost"),
    ] {
        let (got, reason) = told(&script).await;
        assert_eq!((got, reason.split(':').next()), (code, Some(name)), "{script:?}");
    }
}

#[tokio::test]
async fn a_flood_before_the_handshake_is_not_read() {
    let mut screen = Screen::raw().await;
    let world = World::new(&[grant("g-1", screen.address)]);
    let mut browser = world.browser();
    browser.ask(&token("g-1")).await;
    let mut socket = browser.open("g-1").await.unwrap();
    let mut server = screen.next().await;
    let flood = [b"RFB 003.008\n".as_slice(), &vec![255; 1 << 20]].concat();
    // it takes 255 types of security, finds none, and closes
    let (_broken, (code, _)) = tokio::join!(server.write_all(&flood), socket.closed());
    assert_eq!(code, 4204);
}

/// A port whose server takes nobody any more: its queue is full, and whoever comes gets no answer at all.
struct Overwhelmed {
    address: SocketAddr,
    _listener: Socket,
    _queue: Vec<TcpStream>,
}

impl Overwhelmed {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            queue.push(stream);
            assert!(queue.len() < 100, "a queue of none is never full");
        }
        Self { address, _listener: listener, _queue: queue }
    }
}

#[tokio::test]
async fn a_host_that_never_answers_is_given_up_in_time() {
    let host = Overwhelmed::new();
    let mut world = World::new(&[grant("g-1", host.address)]);
    world.slice["settings"] = json!({ "connect_seconds": 1 });
    world.apply().unwrap();
    let mut browser = world.browser();
    assert_eq!(browser.ask(&token("g-1")).await.0, 200);
    let begun = Instant::now();
    let (code, reason) = browser.open("g-1").await.unwrap().closed().await;
    let unreachable = "screen-unreachable: The VM's screen cannot be reached.";
    assert_eq!((code, reason.as_str()), (4102, unreachable));
    // the kernel's own patience is two minutes
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900) && took < BOUND, "{took:?}");
    assert_eq!(world.report()["load"]["sessions"], 0, "its place is free");

    // whoever does not want to wait so long need not, and takes nothing with it
    world.slice["settings"] = json!({ "connect_seconds": 600 });
    world.apply().unwrap();
    let waiting = browser.open("g-1").await.unwrap();
    assert_eq!(world.report()["load"]["sessions"], 1);
    drop(waiting);
    let begun = Instant::now();
    while world.report()["load"]["sessions"] != 0 {
        assert!(begun.elapsed() < BOUND, "it still waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
