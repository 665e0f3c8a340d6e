//! The kernel command line's `sluice.*` words.
//!
//! Whoever writes it owns the machine already, so it is trusted; what it does not say has the template's defaults.

/// What the command line asked of PID 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cmdline {
    /// GPT label of the root partition. Default `sluice-root-a`.
    pub(crate) root: String,
    /// GPT label of the data partition; `none` asks for a RAM one. Default `sluice-data`.
    pub(crate) data: Option<String>,
    /// Lays a RAM file system over the root (machines of the laboratory). Default no.
    pub(crate) overlay: bool,
    /// The second stage. Default our own.
    pub(crate) init: String,
    /// Host name of a machine of the laboratory. Default `host`.
    pub(crate) hostname: String,
    /// Boot document in base64; counts in the debug flavour only.
    pub(crate) boot: Option<String>,
}

impl Default for Cmdline {
    fn default() -> Self {
        Self {
            root: "sluice-root-a".into(),
            data: Some("sluice-data".into()),
            overlay: false,
            init: "/usr/lib/sluice/bin/sluice-init".into(),
            hostname: "host".into(),
            boot: None,
        }
    }
}

impl Cmdline {
    /// Reads the running kernel's command line; `/proc` must be mounted.
    pub(crate) fn read() -> std::io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/cmdline")?))
    }

    /// Takes the words it knows; the others are the kernel's.
    pub(crate) fn parse(text: &str) -> Self {
        let mut cmdline = Self::default();
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            cmdline.take(key, value);
        }
        cmdline
    }

    fn take(&mut self, key: &str, value: &str) {
        match key {
            "sluice.root" => value.clone_into(&mut self.root),
            "sluice.data" => self.data = (value != "none").then(|| value.to_owned()),
            "sluice.overlay" => self.overlay = value != "0",
            "sluice.init" => value.clone_into(&mut self.init),
            "sluice.hostname" => value.clone_into(&mut self.hostname),
            "sluice.boot" => self.boot = Some(value.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_templates() {
        assert_eq!(Cmdline::parse("console=ttyS0 quiet\n"), Cmdline::default());
    }

    #[test]
    fn words_replace_defaults() {
        let got = Cmdline::parse(
            "sluice.root=sluice-host sluice.data=none sluice.overlay sluice.init=/x sluice.hostname=vm1 \
             sluice.boot=e30=",
        );
        let want = Cmdline {
            root: "sluice-host".into(),
            data: None,
            overlay: true,
            init: "/x".into(),
            hostname: "vm1".into(),
            boot: Some("e30=".into()),
        };
        assert_eq!(got, want);
    }
}
