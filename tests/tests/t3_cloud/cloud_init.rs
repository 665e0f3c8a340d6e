//! cloud-init as it is in Debian sets a guest up from what its owner told the manager: host name, user, key, password and
//! a file of the user data, by CloudStack's data source on one guest and EC2's on the other.

use std::time::Duration;

use serde_json::Value;
use sluice_tests::cloud::Shell as _;

use super::world::World;

/// An emulated machine reads a thousand Python files.
const SLOW: Duration = Duration::from_mins(8);

/// What a distribution's image would say: whom to make, and only the steps that the test looks at.
fn settings(source: &str) -> String {
    format!(
        "users: [default]\ndisable_root: false\npreserve_hostname: false\nnetwork: {{ config: disabled }}\n\
         datasource_list: [{source}]\n\
         datasource: {{ CloudStack: {{ max_wait: 60 }}, Ec2: {{ strict_id: false, max_wait: 60 }} }}\n\
         ssh_deletekeys: false\nssh_genkeytypes: []\n\
         cloud_init_modules: [write_files, set_hostname, users_groups, ssh]\n\
         cloud_config_modules: [set_passwords]\ncloud_final_modules: []\n\
         system_info: {{ distro: debian, network: {{ dhcp_client_priority: [dhclient] }}, default_user: {{ name: debian, lock_passwd: false, shell: /bin/bash }} }}\n"
    )
}

/// Runs the two stages that a service manager would. The lease has the name that Debian's ifupdown gives it,
/// and what Debian's set-up writes for PAM is written here.
async fn set_up(world: &World, guest: &str, source: &str) {
    let settings = settings(source);
    let line = format!(
        "mkdir -p /etc/cloud /etc/ssh /home && rm -f /etc/cloud/cloud.cfg.d/* && cat > /etc/cloud/cloud.cfg <<'END'\n\
         {settings}END\n\
         mkdir -p /etc/ssl/certs && cat /usr/share/ca-certificates/mozilla/*.crt > /etc/ssl/certs/ca-certificates.crt\n\
         cp /var/lib/dhcp/dhclient.leases /var/lib/dhcp/dhclient.eth0.leases\n\
         for it in auth account password session; do echo \"$it required pam_unix.so\" > /etc/pam.d/common-$it; done\n\
         touch /etc/shadow /etc/gshadow /etc/ssh/sshd_config && chmod 600 /etc/shadow\n\
         (cloud-init init && cloud-init modules --mode=config) > /run/ci 2>&1; \
         grep -q 'datasource DataSource{source}' /run/ci /var/log/cloud-init.log && id debian || \
         {{ grep -nE 'WARN|ERROR|rror:|SUCCESS|FAIL' /run/ci; tail -n 40 /run/ci; false; }}"
    );
    let output = world.lab.within(guest, &line, SLOW).await.unwrap();
    assert!(output.ok(), "{guest}: {}{}", output.stdout, output.stderr);
}

/// Whether the password of `user` is `password`, by the C library's own function.
async fn has_password(world: &World, guest: &str, password: &str) -> bool {
    let line = format!(
        "python3 - <<'END'\nimport ctypes\nkept = [l.split(':')[1] for l in open('/etc/shadow') if l.startswith('debian:')][0]\n\
         lib = ctypes.CDLL('libcrypt.so.1')\nlib.crypt.restype = ctypes.c_char_p\n\
         made = lib.crypt({password:?}.encode(), kept.encode())\nprint(made.decode() == kept)\nEND"
    );
    world.lab.done(guest, &line).await.unwrap().trim() == "True"
}

/// Keys, user data and a password from the manager set both guests up.
pub(crate) async fn sets_guests_up(world: &World) {
    let made: Value = world.cloud.manager.ask(["keypair", "create", "owner"]).unwrap();
    let key = made["public_key"].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("user-data");
    let data = "#cloud-config\nwrite_files: [{ path: /run/told, content: by its owner }]\n";
    std::fs::write(&file, data).unwrap();
    let file = file.to_str().unwrap();
    world.change(&["guest", "update", "vm2", "--keypairs", "owner", "--user-data-file", file]);
    world.change(&["guest", "update", "vm1", "--keypairs", "owner", "--user-data-file", file]);
    let reset: Value = world.cloud.manager.ask(["guest", "reset-password", "vm1"]).unwrap();
    let id = reset["id"].as_str().unwrap();
    let password = reset["once"][id]["password"].as_str().unwrap();
    world.in_sync().unwrap();
    tokio::join!(set_up(world, "vm1", "CloudStack"), set_up(world, "vm2", "Ec2"));
    for guest in ["vm1", "vm2"] {
        assert_eq!(world.lab.done(guest, "hostname").await.unwrap().trim(), guest);
        let keys = world.lab.done(guest, "cat /home/debian/.ssh/authorized_keys").await.unwrap();
        assert!(keys.contains(&key), "{guest}: {keys}");
        assert_eq!(world.lab.done(guest, "cat /run/told").await.unwrap(), "by its owner");
    }
    if !has_password(world, "vm1", password).await {
        let said = world
            .lab
            .sh("vm1", "grep -niE 'passw|wget|WARN|ERROR' /run/ci; cat /etc/shadow")
            .await
            .unwrap();
        panic!("the password is not the one that was shown, {password}: {}", said.stdout);
    }
    // given once
    let line = "curl -sf --noproxy '*' -H 'DomU_Request: send_my_password' http://10.1.1.1:8080/";
    assert_eq!(world.lab.done("vm1", line).await.unwrap().trim(), "saved_password");
}
