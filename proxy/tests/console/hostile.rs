//! VNC servers that mean harm, or nothing at all.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::screen::Screen;
use crate::world::{World, grant, token};

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
