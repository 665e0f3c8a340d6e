//! From a configuration and its blobs to what the console service is given.
//!
//! Guarantees: pure; a secret is in a type that prints as hidden. A blob that is missing or of another form leaves out what
//! needs it and nothing else: a grant without its VM's password is none, and without any certificate left nothing is
//! served, never plain where TLS was asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sluice_agent::Blobs;
use sluice_api::config::vpn::secret_of_blob;
use sluice_api::config::{
    ConsoleCertificate, ConsoleGrant, ProxyConfig, ProxyDocument, Screen, ScreenTls,
};
use sluice_api::types::{BlobDigest, ObjectId, Port, Secret};

use super::compile::{PLAIN, SECURE};
use crate::slice::{Backend, BackendTls, Certificate, ConsoleSlice, Grant, Vm};

/// The slice of the console service.
pub fn slice(config: &ProxyDocument, blobs: &Blobs) -> ConsoleSlice {
    let role = &*config.role;
    let certificates: Vec<_> =
        role.certificates.iter().filter_map(|it| certificate(it, blobs)).collect();
    let secure = !certificates.is_empty();
    let broken = !secure && !role.certificates.is_empty();
    let sockets = |port: Port, wanted: bool| {
        let all = role.listen.iter().filter(move |_| wanted && !broken);
        all.map(move |address| SocketAddr::new(*address, port.get())).collect()
    };
    ConsoleSlice {
        listen: sockets(if secure { SECURE } else { PLAIN }, true),
        redirect: sockets(PLAIN, secure),
        certificates,
        hosts: role.hosts.clone(),
        origins: role.origins.clone(),
        frame_ancestors: role.frame_ancestors.clone(),
        prefix: role.prefix.clone(),
        trusted_proxies: role.trusted_proxies.clone(),
        cookie_key: role.cookie_key.and_then(|digest| text(blobs, &digest)).map(Secret::new),
        peers: role.peers.clone(),
        grants: grants(role, blobs),
        settings: role.settings.clone(),
    }
}

fn certificate(certificate: &ConsoleCertificate, blobs: &Blobs) -> Option<Certificate> {
    let chain = text(blobs, &certificate.chain)?.to_owned();
    Some(Certificate { chain, key: Secret::new(text(blobs, &certificate.key)?) })
}

fn grants(role: &ProxyConfig, blobs: &Blobs) -> Vec<Grant> {
    let screens: BTreeMap<&ObjectId, (&Screen, Backend)> = role
        .screens
        .iter()
        .filter_map(|screen| Some((&screen.vm, (screen, backend(screen, blobs)?))))
        .collect();
    let with_screen = |grant: &ConsoleGrant| {
        let (screen, backend) = screens.get(&grant.vm)?;
        Some(Grant {
            id: grant.id.clone(),
            token: grant.token,
            vm: Vm { id: screen.vm.clone(), name: screen.name.clone() },
            state: screen.state,
            home: grant.home.clone(),
            taken: grant.taken,
            user: grant.user.clone(),
            backend: backend.clone(),
            view_only: grant.view_only,
            expires: grant.expires,
            source: grant.source.clone(),
            idle_seconds: grant.idle_seconds,
            limits: grant.limits.clone(),
        })
    };
    role.grants.iter().filter_map(with_screen).collect()
}

fn backend(screen: &Screen, blobs: &Blobs) -> Option<Backend> {
    let tls = match &screen.tls {
        Some(tls) => Some(trust(tls, blobs)?),
        None => None,
    };
    let password = match &screen.password {
        Some(digest) => Some(Secret::new(secret_of_blob(blobs.get(digest)?.reveal())?)),
        None => None,
    };
    Some(Backend {
        address: screen.address,
        port: screen.port,
        tls,
        unencrypted: screen.unencrypted,
        user: screen.user.clone(),
        password,
        desktop_name: screen.desktop_name.clone(),
    })
}

fn trust(tls: &ScreenTls, blobs: &Blobs) -> Option<BackendTls> {
    let authorities = match &tls.authorities {
        Some(digest) => Some(text(blobs, digest)?.to_owned()),
        None => None,
    };
    Some(BackendTls { authorities, pin: tls.pin, name: tls.name.clone() })
}

fn text<'a>(blobs: &'a Blobs, digest: &BlobDigest) -> Option<&'a str> {
    blobs.get(digest)?.reveal_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> ProxyDocument {
        ProxyDocument::decode(include_bytes!("../../../examples/proxy.json")).unwrap().0
    }

    /// The example, with its blobs replaced by these.
    fn with(blobs: &[(&str, &str)]) -> (ProxyDocument, Blobs) {
        let mut text = serde_json::to_string(&example()).unwrap();
        for (was, is) in blobs {
            let digest = |text: &str| BlobDigest::of(text.as_bytes()).to_string();
            text = text.replace(&digest(was), &digest(is));
        }
        let config = ProxyDocument::decode(text.as_bytes()).unwrap().0;
        (config, Blobs::of(blobs.iter().map(|(_, is)| is.as_bytes().to_vec())))
    }

    const ALL: [(&str, &str); 6] = [
        ("chain", "a chain"),
        ("key", "hush key"),
        ("cookies", "hush cookies"),
        ("authorities", "an authority"),
        ("password", "random\nhush"),
        ("another", "random\nhush2"),
    ];

    #[test]
    fn the_example_becomes_a_sound_slice_whose_secrets_are_hidden() {
        let (config, blobs) = with(&ALL);
        let slice = slice(&config, &blobs);
        assert_eq!(slice.complaint(), None);
        assert_eq!(slice.listen, ["198.51.100.30:443".parse().unwrap()]);
        assert_eq!(slice.redirect, ["198.51.100.30:80".parse().unwrap()]);
        let ids: Vec<_> = slice.grants.iter().map(|grant| grant.id.as_str()).collect();
        assert_eq!(ids, ["g-1", "g-2", "g-3"]);
        assert_eq!(slice.grants[1].vm.name, "web server");
        let password = slice.grants[2].backend.password.as_ref();
        assert_eq!(password.map(Secret::reveal), Some("hush2"));
        assert!(!format!("{slice:?}").contains("hush"));
        let text = serde_json::to_string(&slice).unwrap();
        assert_eq!(serde_json::from_str::<ConsoleSlice>(&text).unwrap(), slice);
    }

    #[test]
    fn what_needs_a_blob_that_is_missing_is_left_out() {
        let without = |name: &str| {
            let mut blobs = ALL.to_vec();
            blobs.retain(|(was, _)| *was != name);
            let (config, blobs) = with(&blobs);
            slice(&config, &blobs)
        };
        let ids = |slice: &ConsoleSlice| slice.grants.len();
        assert_eq!((ids(&without("password")), ids(&without("another"))), (1, 2));
        assert_eq!(ids(&without("authorities")), 1);
        let plain = without("key");
        assert_eq!((plain.listen.len(), plain.redirect.len()), (0, 0), "never plain");
        assert_eq!(plain.complaint(), None);
    }

    #[test]
    fn behind_a_reverse_proxy_it_is_plain() {
        let mut config = example();
        config.role.certificates.clear();
        config.role.trusted_proxies = vec!["198.51.100.7/32".parse().unwrap()];
        let slice = slice(&config, &Blobs::none());
        assert_eq!(slice.listen, ["198.51.100.30:80".parse().unwrap()]);
        assert_eq!((slice.redirect.len(), slice.complaint()), (0, None));
    }
}
