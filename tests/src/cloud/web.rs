//! Web servers on guests, what their visitors see, and certificates.

use std::collections::BTreeSet;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::Shell;

/// Says its name at every path.
fn server(name: &str, port: u16) -> String {
    format!(
        "cat > /run/nginx-{port}.conf <<'END'\n\
         user root; pid /run/nginx-{port}.pid; error_log /run/nginx.log;\n\
         events {{}}\n\
         http {{ access_log off; server {{ listen {port}; default_type text/plain;\n\
           location / {{ return 200 \"{name}\\n\"; }} }} }}\nEND\nnginx -c /run/nginx-{port}.conf"
    )
}

/// Starts a web server on a guest.
pub async fn serve(shell: &dyn Shell, guest: &str, port: u16) -> Result<()> {
    shell.done(guest, &server(guest, port)).await.map(drop)
}

/// Ends it.
pub async fn kill(shell: &dyn Shell, guest: &str, port: u16) -> Result<()> {
    shell.done(guest, &format!("kill $(cat /run/nginx-{port}.pid)")).await.map(drop)
}

/// What the page at `url` says, asked with curl and `options`; `None` when there is none.
pub async fn page(
    shell: &dyn Shell,
    from: &str,
    options: &str,
    url: &str,
) -> Result<Option<String>> {
    let line = format!("curl -s --noproxy '*' --max-time 5 {options} {url}");
    let output = shell.sh(from, &line).await?;
    Ok(output.ok().then(|| output.stdout.trim().to_owned()))
}

/// Who answers `number` visits, each over a connection of its own.
pub async fn served_by(
    shell: &dyn Shell,
    from: &str,
    url: &str,
    number: usize,
) -> Result<BTreeSet<Option<String>>> {
    let mut seen = BTreeSet::new();
    for _ in 0..number {
        seen.insert(page(shell, from, "", url).await?);
    }
    Ok(seen)
}

/// A certificate for `name` that proves itself, and with its private key, in PEM.
pub struct Certificate {
    /// For those who are to believe it.
    pub proof: String,
    /// For the balancer.
    pub with_key: String,
}

impl Certificate {
    /// A new one.
    pub fn of(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let proof = params.self_signed(&key)?.pem();
        let with_key = format!("{proof}{}", key.serialize_pem());
        Ok(Self { proof, with_key })
    }

    /// Writes the proof into a file of a machine, for curl's `--cacert`.
    pub async fn give(&self, shell: &dyn Shell, machine: &str, file: &str) -> Result<()> {
        let line = format!("cat > {file} <<'END'\n{}END", self.proof);
        shell.done(machine, &line).await.map(drop)
    }
}
