//! Two owners call theirs alike, and neither finds, changes or takes away what is the other's. Until there are accounts
//! everybody acts for one owner; here a token is made another's by hand.

use reqwest::Method;
use serde_json::{Value, json};

use super::process::{Cloud, first_network};

/// A caller that acts for an owner of its own.
struct Other {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Other {
    async fn of(cloud: &Cloud) -> Self {
        let spec = json!({ "name": "other", "role": "operator" });
        let (status, made) = cloud.post("/v1/tokens", spec).await;
        assert_eq!(status, 200, "{made}");
        let store = cloud.store().await;
        let mut turn = store.begin().await.unwrap();
        sqlx::query(
            "UPDATE tokens SET domain = 'elsewhere', account = 'theirs' WHERE name = 'other'",
        )
        .execute(&mut *turn)
        .await
        .unwrap();
        turn.commit().await.unwrap();
        store.close().await;
        let token = made["token"].as_str().unwrap().to_owned();
        Self { http: cloud.http(), url: cloud.manager.url(), token }
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let call = self.http.request(method, format!("{}{path}", self.url));
        let call = call.bearer_auth(&self.token).header("idempotency-key", format!("key {path}"));
        let answer = call.json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, &Value::Null).await
    }

    async fn make(&self, path: &str, body: Value) -> Value {
        let (status, made) = self.call(Method::POST, path, &body).await;
        assert_eq!(status, 201, "{path}: {made}");
        made
    }

    /// The same network as the example's, by the same names.
    async fn network(&self) {
        let zone = json!({ "name": "zone1", "resolvers": ["192.0.2.53"] });
        assert_eq!(self.make("/v1/zones", zone).await["id"], "z-2");
        let physical = json!({ "zone": "zone1", "name": "physnet1", "vlans": ["100-199"] });
        self.make("/v1/physical-networks", physical).await;
        let range = json!({ "zone": "zone1", "name": "public1", "gateway": "203.0.113.1", "prefix": 24,
            "start": "203.0.113.10", "end": "203.0.113.99" });
        self.make("/v1/public-ranges", range).await;
        let network = json!({ "zone": "zone1", "name": "net1", "domain": "theirs.internal", "egress": "deny" });
        assert_eq!(self.make("/v1/networks", network).await["router"], "r-2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_call_theirs_alike_and_do_not_find_each_others() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    let other = Other::of(&cloud).await;
    for list in ["zones", "physical-networks", "public-ranges", "networks", "guests", "appliances"]
    {
        assert_eq!(other.get(&format!("/v1/{list}")).await, (200, json!([])), "{list}");
    }
    for name in ["n-1", "net1"] {
        let path = format!("/v1/networks/{name}");
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let (status, problem) =
                other.call(method.clone(), &path, &json!({ "egress": "allow" })).await;
            assert_eq!(
                (status, &problem["code"]),
                (404, &json!("not-found")),
                "{method} {name}: {problem}"
            );
        }
    }
    assert_eq!(other.get("/v1/appliances/r-1/config").await.0, 404);
    assert_eq!(other.get("/v1/networks?zone=zone1").await.0, 404);
    other.network().await;
    // nor is a rule made on what is the other's
    let ours = cloud.get("/v1/public-ips").await[0]["id"].clone();
    let before = cloud.get("/v1/appliances/r-1/config").await;
    for (path, mut rule) in [
        ("/v1/firewall-rules", json!({ "protocol": "all" })),
        ("/v1/port-forwards", json!({ "protocol": "tcp", "ports": "80", "guest": "vm1" })),
        ("/v1/static-nats", json!({ "guest": "vm1" })),
    ] {
        (rule["name"], rule["public_ip"]) = (json!("x"), ours.clone());
        let (status, problem) = other.call(Method::POST, path, &rule).await;
        let words = format!("no public ip {}", ours.as_str().unwrap());
        assert_eq!((status, &problem["code"]), (404, &json!("not-found")), "{path}: {problem}");
        assert!(problem["message"].as_str().unwrap().contains(&words), "{path}: {problem}");
    }
    assert_eq!(cloud.get("/v1/appliances/r-1/config").await, before);
    // each name is one object to each of them
    let told = cloud.sluice(["--json", "network", "show", "net1"]);
    let shown: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(shown["id"], "n-1", "{told:?}");
    assert_eq!(other.get("/v1/networks/net1").await.1["id"], "n-2");
    assert_eq!(cloud.get("/v1/networks").await.as_array().unwrap().len(), 1);
    // nor is the other's pruned
    let again = cloud.sluice(["apply", &first_network(), "--yes", "--prune"]);
    assert_eq!((again.code, again.out.as_str()), (0, "nothing to do\n"), "{again:?}");
    assert!(!cloud.sluice(["export"]).out.contains("theirs"));
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_for_all_holds_between_owners() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    let other = Other::of(&cloud).await;
    other.network().await;
    // both have the same control network, and no address of it is given twice
    let (_, theirs) = other.get("/v1/appliances/r-2").await;
    let ours = cloud.get("/v1/appliances/r-1").await;
    assert!(theirs["control"].is_string() && theirs["control"] != ours["control"], "{theirs}");
    // one request key and one name of each
    let pair = json!({ "name": "k1" });
    let theirs = other.make("/v1/keypairs", pair.clone()).await;
    let key = Some("key /v1/keypairs");
    let (status, ours) = cloud.call(Method::POST, "/v1/keypairs", key, &pair).await.unwrap();
    assert_eq!(status, 201, "{ours}");
    assert_ne!(ours["id"], theirs["id"], "another's answer was repeated");
    // a guest opens to its own owner's pair
    let guest = json!({ "network": "net1", "name": "vm1", "keypairs": ["k1"] });
    other.make("/v1/guests", guest).await;
    let (_, config) = other.get("/v1/appliances/r-2/config").await;
    let text = config.to_string();
    let body =
        |pair: &Value| pair["public_key"].as_str().unwrap().split(' ').nth(1).unwrap().to_owned();
    assert!(text.contains(&body(&theirs)) && !text.contains(&body(&ours)), "{config}");
    // whoever deletes the pair of the same name is held back by nobody else's guest
    let told = cloud.sluice(["keypair", "delete", "k1"]);
    assert_eq!(told.code, 0, "{told:?}");
    let (status, problem) = other.call(Method::DELETE, "/v1/keypairs/k1", &Value::Null).await;
    assert_eq!((status, &problem["code"]), (409, &json!("in-use")), "{problem}");
    cloud.stop();
}
