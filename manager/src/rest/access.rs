//! Who may call what.
//!
//! Guarantees: every call but that for the manager's health has a known caller with the right to it. Callers on the socket
//! are who the kernel says they are: root and the manager's own user are administrators, nobody else is let in. Callers
//! over TCP show a token.

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::App;
use super::listen::Peer;
use super::reply::Refusal;
use crate::access::{Caller, Role};
use crate::code::ErrorCode;
use crate::error::Error;
use crate::store::{Owner, tokens};

/// Who is let in without a token of the store.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Digest of the administrator's token of the command line.
    pub administrator: Option<String>,
    /// The manager's own user.
    pub own_user: u32,
}

/// Calls that need no caller.
const OPEN: &str = "/v1/health";
/// Calls that only an administrator may make, by their beginning; looking included.
const ADMINISTRATION: &[&str] = &["/v1/tokens", "/v1/backup", "/v1/resume"];

/// What a call needs.
fn needs(method: &Method, path: &str) -> Role {
    let looks = matches!(*method, Method::GET | Method::HEAD);
    let inside = |start: &&str| path == *start || path.starts_with(&format!("{start}/"));
    if ADMINISTRATION.iter().any(inside)
        || path.ends_with("/boot-document")
        || (!looks && inside(&"/v1/authority"))
    {
        Role::Administrator
    } else if looks {
        Role::Reader
    } else {
        Role::Operator
    }
}

/// Lets a call through whose caller may make it.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if request.uri().path() == OPEN {
        return next.run(request).await;
    }
    match admitted(&app, Asked::of(&request)).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// What of a call says who calls, and what for.
struct Asked {
    peer: Option<Peer>,
    token: Option<String>,
    needs: Role,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let shown = request.headers().get(header::AUTHORIZATION);
        let text = shown.and_then(|value| value.to_str().ok());
        Self {
            peer: request.extensions().get::<ConnectInfo<Peer>>().map(|info| info.0.clone()),
            token: text.and_then(|text| text.strip_prefix("Bearer ")).map(str::to_owned),
            needs: needs(request.method(), request.uri().path()),
        }
    }
}

async fn admitted(app: &App, asked: Asked) -> Result<Caller, Refusal> {
    let caller = match asked.peer {
        Some(Peer::User(user)) => of_socket(app, user)?,
        Some(Peer::Address(address)) => {
            let token = asked.token.ok_or_else(|| unknown("a token is needed"))?;
            of_token(app, token.trim(), address.to_string()).await?
        }
        None => return Err(unknown("the caller's address is not known")),
    };
    if caller.role < asked.needs {
        let message = format!("{}, whose role is {:?}, may not do that", caller.name, caller.role);
        let hint = "ask an administrator for a token with another role";
        return Err(Refusal::new(ErrorCode::Forbidden, &message.to_lowercase(), Some(hint)));
    }
    Ok(caller)
}

fn unknown(message: &str) -> Refusal {
    let hint = "name the file of a token: --caller-token or SLUICE_TOKEN_FILE; `sluice token create` \
                makes one";
    Refusal::new(ErrorCode::Unauthorized, message, Some(hint))
}

fn of_socket(app: &App, user: u32) -> Result<Caller, Refusal> {
    if user != 0 && user != app.admission.own_user {
        let message = format!("user {user} may not use the manager's socket");
        let hint = "call as root or as the manager's user, or over TCP with a token";
        return Err(Refusal::new(ErrorCode::Forbidden, &message, Some(hint)));
    }
    let (name, origin) = (format!("user {user}"), "socket".to_owned());
    Ok(Caller { name, origin, role: Role::Administrator, owner: Owner::default() })
}

async fn of_token(app: &App, token: &str, origin: String) -> Result<Caller, Refusal> {
    if app.admission.administrator.as_ref().is_some_and(|one| *one == tokens::digest(token)) {
        let name = "administrator".to_owned();
        return Ok(Caller { name, origin, role: Role::Administrator, owner: Owner::default() });
    }
    let found = tokens::of(&mut *app.read().await?, token).await?;
    let found = found.ok_or_else(|| unknown("the token is unknown, or has ended"))?;
    Ok(Caller { name: found.name, origin, role: found.role, owner: found.owner })
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let caller = parts.extensions.get::<Self>().cloned();
        let missing = || Error::Corrupt { what: "request", reason: "it has no caller".to_owned() };
        caller.ok_or_else(|| missing().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_for_the_administrator_alone() {
        for (method, path, role) in [
            (Method::GET, "/v1/networks", Role::Reader),
            (Method::GET, "/v1/audit", Role::Reader),
            (Method::GET, "/v1/authority", Role::Reader),
            (Method::POST, "/v1/networks", Role::Operator),
            (Method::DELETE, "/v1/networks/n-1", Role::Operator),
            (Method::POST, "/v1/appliances/r-1/plan", Role::Operator),
            (Method::POST, "/v1/appliances/r-1/boot-document", Role::Administrator),
            (Method::POST, "/v1/authority/rotate", Role::Administrator),
            (Method::GET, "/v1/backup", Role::Administrator),
            (Method::GET, "/v1/tokens", Role::Administrator),
            (Method::DELETE, "/v1/tokens/t-1", Role::Administrator),
            (Method::POST, "/v1/resume", Role::Administrator),
        ] {
            assert_eq!(needs(&method, path), role, "{method} {path}");
        }
    }
}
