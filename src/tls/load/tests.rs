//! Tests of what one generation keeps of the former.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;

const CONFIG: &str = r#"
[trust.partners]
ca = ["partners/"]

[trust.internal]
ca = ["internal.pem"]

[listeners.public]
bind = "127.0.0.1:8443"

[listeners.public.limits]
max_connections = 10

[listeners.public.tls]
certificates = [{ chain = "server.pem", key = "server.key" }]
client_auth = "require"
trust = "partners"

[[routes]]
upstream = "orders"

[upstreams.orders]
endpoints = ["https://127.0.0.1:8444"]
connect_timeout = "5s"

[upstreams.orders.tls]
trust = "internal"
certificate = { chain = "client.pem", key = "client.key" }
"#;

/// Everything that the config above makes.
const ALL: [&str; 6] = [
    "partners",
    "internal",
    "public",
    "orders",
    "server.pem",
    "client.pem",
];

/// A folder with all files that a config names.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path("partners")).unwrap();
        folder.write("partners/ca.pem", &authority("partners"));
        folder.write("internal.pem", &authority("internal"));
        folder.issue("server");
        folder.issue("client");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A new chain with a new key.
    fn issue(&self, name: &str) {
        let made = rcgen::generate_simple_self_signed([format!("{name}.test")]).unwrap();
        self.write(&format!("{name}.pem"), &made.cert.pem());
        self.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
    }

    fn try_load(&self, text: &str, former: Option<&Material>) -> Result<Material, String> {
        let config = config::parse(text, &self.path("config.toml")).finish(Vec::new());
        load(&config.unwrap(), &Files::new(), former).map_err(|problems| format!("{problems:?}"))
    }

    #[track_caller]
    fn load(&self, text: &str, former: Option<&Material>) -> Material {
        self.try_load(text, former).unwrap()
    }
}

fn authority(name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().pem()
}

/// The names of what is the very same in both, in the order of `ALL`.
fn kept(before: &Material, after: &Material) -> Vec<&'static str> {
    fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
        Arc::ptr_eq(one.unwrap(), other.unwrap())
    }
    let bundle = |material: &Material, name: &str| {
        let mut all = material.bundles.iter();
        all.find(|bundle| bundle.name() == name).cloned()
    };
    let chain = |material: &Material, name: &str| {
        let chains = material.origins.chains.all();
        let mut named = chains.filter(|(config, _)| config.chain.value.ends_with(name));
        std::ptr::from_ref(named.next().unwrap().1)
    };
    ALL.into_iter()
        .filter(|name| match *name {
            "public" => same(before.servers[0].as_ref(), after.servers[0].as_ref()),
            "orders" => same(before.clients[0].as_ref(), after.clients[0].as_ref()),
            name if Path::new(name).extension().is_some() => {
                chain(before, name) == chain(after, name)
            }
            name => same(bundle(before, name).as_ref(), bundle(after, name).as_ref()),
        })
        .collect()
}

/// `ALL` without some.
fn all_but(changed: &[&str]) -> Vec<&'static str> {
    let mut all = ALL.to_vec();
    all.retain(|name| !changed.contains(name));
    all
}

#[test]
fn what_has_not_changed_is_kept_and_what_rests_on_a_change_is_not() {
    type Change = (&'static str, fn(&Folder), &'static [&'static str]);
    let changes: [Change; 7] = [
        ("nothing", |_| {}, &[]),
        (
            "the same contents in other files",
            |folder| {
                for name in ["partners/ca.pem", "internal.pem", "server.key"] {
                    let text = fs::read(folder.path(name)).unwrap();
                    fs::remove_file(folder.path(name)).unwrap();
                    fs::write(folder.path(name), text).unwrap();
                }
            },
            &[],
        ),
        (
            "one more anchor",
            |folder| folder.write("partners/more.pem", &authority("more")),
            &["partners", "public"],
        ),
        (
            "one anchor less",
            |folder| fs::remove_file(folder.path("partners/more.pem")).unwrap(),
            &["partners", "public"],
        ),
        (
            "another anchor of the same name",
            |folder| folder.write("internal.pem", &authority("internal")),
            &["internal", "orders"],
        ),
        (
            "another certificate of ours",
            |folder| folder.issue("server"),
            &["public", "server.pem"],
        ),
        (
            "another certificate towards an upstream",
            |folder| folder.issue("client"),
            &["orders", "client.pem"],
        ),
    ];
    let folder = Folder::new();
    let mut before = folder.load(CONFIG, None);
    for (what, change, changed) in changes {
        change(&folder);
        let after = folder.load(CONFIG, Some(&before));
        assert_eq!(kept(&before, &after), all_but(changed), "{what}");
        before = after;
    }
    let anew = folder.load(CONFIG, None);
    assert_eq!(kept(&before, &anew), [""; 0], "without a former generation");
}

#[test]
fn settings_that_have_changed_make_anew_what_rests_on_them() {
    let cases: [(&str, &str, &[&str]); 10] = [
        ("\n[trust.partners]", "# a comment\n[trust.partners]", &[]),
        (
            "[trust.partners]",
            "[trust.first]\nca = [\"internal.pem\"]\n[trust.partners]",
            &[],
        ),
        ("max_connections = 10", "max_connections = 11", &[]),
        (
            "max_connections = 10",
            "max_chain_certificates = 3",
            &["public"],
        ),
        ("connect_timeout = \"5s\"", "connect_timeout = \"6s\"", &[]),
        (
            "ca = [\"partners/\"]",
            "ca = [\"partners/\"]\non_withdrawal = \"cut\"",
            &["partners", "public"],
        ),
        ("\"require\"", "\"want\"", &["public"]),
        ("trust = \"partners\"", "trust = \"internal\"", &["public"]),
        (
            "[upstreams.orders.tls]",
            "[upstreams.orders.tls]\nserver_name = \"orders.test\"",
            &["orders"],
        ),
        (
            "trust = \"internal\"\n",
            "trust = \"partners\"\n",
            &["orders"],
        ),
    ];
    let folder = Folder::new();
    let before = folder.load(CONFIG, None);
    for (old, new, changed) in cases {
        assert!(CONFIG.contains(old), "{old}");
        let text = CONFIG.replacen(old, new, 1);
        let after = folder.load(&text, Some(&before));
        assert_eq!(kept(&before, &after), all_but(changed), "{new}");
    }
}

#[test]
fn policies_that_change_places_are_made_anew_although_they_are_the_same_ones() {
    let folder = Folder::new();
    let by_name = |wild: &str, exact: &str| {
        format!(
            "{CONFIG}
            [listeners.public.tls.names.'*.test']
            client_auth = 'require'
            trust = '{wild}'
            [listeners.public.tls.names.'Server.Test']
            client_auth = 'require'
            trust = '{exact}'"
        )
    };
    let server = |material: &Material| Arc::clone(material.servers[0].as_ref().unwrap());
    let first = folder.load(&by_name("partners", "internal"), None);
    let bundle = |material: &Material, name| {
        let server = server(material);
        server.bundle(Some(name)).unwrap().name().to_owned()
    };
    assert_eq!(bundle(&first, "server.test"), "internal");
    let again = folder.load(&by_name("partners", "internal"), Some(&first));
    assert!(Arc::ptr_eq(&server(&first), &server(&again)));
    let swapped = folder.load(&by_name("internal", "partners"), Some(&again));
    assert!(!Arc::ptr_eq(&server(&first), &server(&swapped)));
    assert_eq!(bundle(&swapped, "server.test"), "partners");
}

#[test]
fn name_with_a_policy_that_no_certificate_carries_is_a_problem() {
    let folder = Folder::new();
    for (name, carried) in [
        ("server.test", true),
        ("*.test", true),
        ("client.test", false),
        ("*.server.test", false),
        ("test", false),
    ] {
        let text = format!("{CONFIG}[listeners.public.tls.names.'{name}']\nclient_auth = 'none'");
        let problems = folder.try_load(&text, None).err().unwrap_or_default();
        assert_eq!(problems.is_empty(), carried, "{name}: {problems}");
        let what =
            format!("listeners.public.tls.names: no certificate of this listener carries {name}");
        assert_eq!(problems.contains(&what), !carried, "{problems}");
    }
}

#[test]
fn chain_that_several_name_is_loaded_once_and_told_of_for_each() {
    let folder = Folder::new();
    let text = CONFIG.replace("client.", "server.");
    let material = folder.load(&text, None);
    let own = material.expiries.iter().filter(|e| e.kind == "own");
    let names: Vec<_> = own.map(|expiry| expiry.name.as_str()).collect();
    assert_eq!(names, ["public", "orders"]);
    let again = folder.load(&text, Some(&material));
    assert_eq!(again.expiries.len(), material.expiries.len());
}

#[test]
fn what_is_kept_is_told_of_in_the_words_of_its_new_place() {
    let folder = Folder::new();
    let before = folder.load(CONFIG, None);
    let text = CONFIG.replace("public", "renamed");
    let after = folder.load(&text, Some(&before));
    assert_eq!(kept(&before, &after), all_but(&["public"]));
    let names: Vec<_> = after.expiries.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["partners", "internal", "renamed", "orders"]);
}

#[test]
fn broken_file_is_a_problem_although_there_is_a_former_generation() {
    let folder = Folder::new();
    let before = folder.load(CONFIG, None);
    for name in [
        "partners/ca.pem",
        "internal.pem",
        "server.pem",
        "client.key",
    ] {
        let good = fs::read_to_string(folder.path(name)).unwrap();
        for broken in ["", "garbage", &good[..good.len() / 2]] {
            folder.write(name, broken);
            let problems = folder.try_load(CONFIG, Some(&before)).unwrap_err();
            assert!(problems.contains(name), "{name}: {problems}");
        }
        fs::remove_file(folder.path(name)).unwrap();
        let problems = folder.try_load(CONFIG, Some(&before)).unwrap_err();
        assert!(!problems.is_empty(), "{name} is missing");
        folder.write(name, &good);
    }
    let after = folder.load(CONFIG, Some(&before));
    assert_eq!(kept(&before, &after), ALL);
}

#[test]
fn authorities_of_the_machine_are_kept_while_they_are_the_same() {
    let folder = Folder::new();
    let text = CONFIG.replace("trust = \"internal\"", "trust = \"system\"");
    // A machine without any has nothing to keep.
    let Ok(before) = folder.try_load(&text, None) else {
        return;
    };
    let after = folder.load(&text, Some(&before));
    let system = |material: &Material| material.origins.system.clone().unwrap();
    assert!(Arc::ptr_eq(&system(&before), &system(&after)));
    assert_eq!(kept(&before, &after), ALL);
    let one = folder.load(CONFIG, None);
    assert!(!has_same_anchors(&system(&before), &one.bundles[0]));
}
