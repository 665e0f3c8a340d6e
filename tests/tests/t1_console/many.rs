//! Two proxies with the same grants: the browser of one that dies goes on at the other, by itself.

use serde_json::json;

use crate::bench::{Proxy, grant, token};
use crate::chromium::Chromium;
use sluice_tests::console::client::post;
use sluice_tests::console::qemu::{Qemu, Server};

#[test]
fn sessions_of_a_dead_proxy_go_on_at_another_with_the_same_grant() {
    goes_on_at_another_after(Proxy::kill);
}

#[test]
fn sessions_of_a_proxy_that_hangs_go_on_at_another_too() {
    goes_on_at_another_after(Proxy::hang);
}

fn goes_on_at_another_after(end: fn(&mut Proxy)) {
    let folder = tempfile::tempdir().unwrap();
    let qemu = Qemu::start(folder.path(), &[Server::Open]);
    let mut pinned = grant("g-1", qemu.ports[0]);
    pinned["source"] = json!("first-browser");
    let key = json!({ "cookie_key": "c2FtZSBrZXkgb2YgYm90aCBjb25zb2xlIHByb3hpZXM=" });
    let mut home = Proxy::start(std::slice::from_ref(&pinned), key.clone());
    let at_home = format!("http://{}", home.address);
    pinned["home"] = json!(at_home);
    let mut more = key;
    more["peers"] = json!([at_home]);
    let mut other = Proxy::start(&[pinned], more);
    // the dead one is asked for first, as the page does not know which is
    let nobody = format!("http://{}", crate::bench::free());
    home.slice["peers"] = json!([nobody, format!("http://{}", other.address)]);
    home.reload();

    let chromium = Chromium::start();
    let tab = chromium.open(&format!("{at_home}/#{}", token("g-1")));
    tab.shows_the_screen();
    end(&mut home);
    tab.until(&format!(
        "location.host === '{}' && document.body?.dataset.state === 'shown'",
        other.address
    ));
    assert_eq!(tab.value("location.hash"), "#grant=g-1", "the pass is no longer in the address");
    tab.type_keys("still here");
    let mut qemu = qemu;
    crate::browser::guest_says(&mut qemu, "still here");
    assert_eq!(other.report()["sessions"][0]["grant"], "g-1");

    // the link alone opens nothing here, not even now that its own proxy is gone
    let asked = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect(other.address).await.unwrap();
        post(stream, other.address, "http", "g-1").await
    });
    assert_eq!((asked.0, &asked.1["code"]), (421, &json!("elsewhere")));
    other.slice["grants"] = json!([]);
    other.reload();
    tab.says("The link was revoked.");
}
