//! A store of the first shape, with its router up: a router whose agent speaks the first form of the contract.
//!
//! The agent is a stand-in that answers with what that build's own types wrote (`first-shape/`), over mutual TLS, and keeps
//! every request. Whatever is no question is a failure of the test. That the machine itself goes on is its own affair: it
//! is asked, and nothing else.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use sluice_api::Digest;
use sluice_api::boot::Identity;
use sluice_manager::ca::Authority;
use sluice_manager::store::Store;
use sqlx::AssertSqlSafe;
use tokio::net::TcpListener;

use super::kinds::done;
use super::process::{Cloud, Place};
use super::tls::acceptor;
use super::wait::until;

/// The last migration of the first shape.
const FIRST_SHAPE: i64 = 2;
const ROWS: &str = include_str!("../../../manager/tests/old-store/rows.sql");
const CONFIG: &str = include_str!("../../../manager/tests/old-store/config.json");
const STATUS: &str = include_str!("first-shape/status.json");
/// Where the rows say that the router's agent is.
const ENDPOINT: &str = "127.0.0.1:43922";

/// A request: its method and its path.
type Asked = (Method, String);

/// An agent of the first form.
#[derive(Clone, Default)]
struct Standin(Arc<Mutex<Vec<Asked>>>);

impl Standin {
    async fn start(&self, identity: &Identity) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor(identity);
        let routes = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, service) =
                    (acceptor.clone(), TowerToHyperService::new(routes.clone()));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let server = auto::Builder::new(TokioExecutor::new()).http1_only();
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        address
    }

    fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    /// How often it was looked at.
    fn looks(&self) -> usize {
        self.asked().iter().filter(|(_, path)| path == "/v1/status").count()
    }

    fn writes(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|(method, _)| *method != Method::GET).collect()
    }
}

async fn answer(State(standin): State<Standin>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    standin.0.lock().unwrap().push((method.clone(), path.clone()));
    match (method, path.as_str()) {
        (Method::GET, "/v1/status") => STATUS.into_response(),
        (Method::GET, "/v1/config") => CONFIG.trim().into_response(),
        (Method::GET, _) => StatusCode::NOT_FOUND.into_response(),
        // it would be done; the test looks at what was asked
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn digest() -> Digest {
    Digest::of_bytes(CONFIG.trim().as_bytes())
}

/// The store as a manager of the first shape left it, and the authority beside it.
async fn left_behind(folder: &Path, standin: &Standin) {
    let file = folder.join("manager.db");
    let authority = Authority::open(&file, Duration::from_hours(24 * 90)).unwrap();
    let issued = authority.appliance(&"r-1".parse().unwrap()).unwrap();
    let endpoint = standin.start(&issued.identity).await;
    let rows = ROWS
        .replace("CONFIG_DIGEST", digest().as_str())
        .replace("CONFIG", CONFIG.trim())
        .replace(ENDPOINT, &endpoint.to_string());
    let store = Store::open_at(&file.as_path().into(), FIRST_SHAPE).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_of_the_first_form_is_asked_and_nothing_else_until_another_stands_in_its_place() {
    assert!(STATUS.contains(digest().as_str()), "what it has is what the store has of it");
    let (place, standin) = (Place::in_a_file(), Standin::default());
    left_behind(place.path(), &standin).await;
    let cloud = Cloud::on(place).await;

    // which build it is, and what to do next, is said where people look
    let told = || cloud.sluice(["status"]).out;
    until("its build is told", || told().contains("firmware 0.1.0 (a build without a name)")).await;
    let text = told();
    for words in ["r-1", "rejected", "reads configurations of version 1", "boot-document r-1"] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    // a change is taken and waits, and so does what is sent by hand; the router is looked at, and that is all
    done(&cloud, "guest create vm40 --network net1");
    let waited = cloud.sluice(["status", "r-1", "--wait", "1"]);
    assert_eq!(waited.code, 8, "{waited:?}");
    let _ = cloud.sluice(["appliance", "push", "r-1"]);
    let seen = standin.looks();
    until("it is looked at again and again", || standin.looks() >= seen + 5).await;
    assert_eq!(standin.writes(), []);

    // a machine of today in its place gets everything that was wanted meanwhile
    let agent = cloud.boot("r-1").await;
    let waited = cloud.sluice(["status", "r-1", "--wait", "30"]);
    assert_eq!(waited.code, 0, "{waited:?}\n{}", cloud.log());
    let config = agent.config();
    let mut guests: Vec<_> =
        config.role.networks[0].guests.iter().map(|guest| guest.hostname.to_string()).collect();
    guests.sort_unstable();
    assert_eq!(guests, ["vm20", "vm30", "vm40"]);
    assert_eq!(standin.writes(), []);
    cloud.stop();
}
