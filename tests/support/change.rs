//! Changes what the running binary reads, in the ways in which people and
//! programs do that, and asks what came of it.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::disk::replace;
use super::pki::Leaf;
use super::proxy::{Metrics, Proxy, merge};
use super::raw::{Raw, RawAnswer};

impl Proxy {
    /// Writes a file next to the config in place.
    pub(crate) fn overwrite(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Puts another file in the place of one next to the config.
    pub(crate) fn rename_over(&self, name: &str, content: &str) {
        replace(&self.path(name), content);
    }

    /// Lets a symbolic link next to the config lead to another folder with
    /// these files, in one step, as Kubernetes does with `..data`.
    pub(crate) fn swap_folder(&self, link: &str, files: &[(String, String)]) {
        let link = self.path(link);
        let folder = tempfile::Builder::new()
            .prefix("version-")
            .disable_cleanup(true)
            .tempdir_in(link.parent().unwrap())
            .unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let aside = folder.path().with_extension("link");
        symlink(folder.path().file_name().unwrap(), &aside).unwrap();
        fs::rename(aside, link).unwrap();
    }

    /// Merges TOML into the config file: tables are joined, everything else is
    /// replaced. The whole file changes in one step.
    pub(crate) fn configure(&self, change: &str) {
        let change: toml::Table = change
            .parse()
            .unwrap_or_else(|error| panic!("{error}\nin {change}"));
        self.edit_config(|config| merge(config, change));
    }

    /// Changes the config file, in one step.
    pub(crate) fn edit_config(&self, edit: impl FnOnce(&mut toml::Table)) {
        let text = fs::read_to_string(self.path("countersign.toml")).unwrap();
        let mut config: toml::Table = text.parse().unwrap();
        edit(&mut config);
        self.rename_over("countersign.toml", &toml::to_string(&config).unwrap());
    }

    /// How many generations were put in force so far, the first one included.
    pub(crate) fn generations(&self) -> u64 {
        u64::try_from(self.logged("generation.published").len()).unwrap()
    }

    /// The number of the generation in force.
    pub(crate) async fn generation(&self) -> u64 {
        let told = self.trust().await["generation"].as_u64().unwrap();
        let counted = self.metrics().await.sum("countersign_generation", &[]);
        // Two answers: another generation may have come between them.
        assert!(counted >= told as f64, "{counted} is before {told}");
        told
    }

    /// Waits until it is this number, which must not be passed over.
    pub(crate) async fn generation_becomes(&self, number: u64) {
        self.in_force(number).await;
        assert_eq!(self.generation().await, number);
    }

    /// Waits until this generation is in force; returns the line that says so.
    pub(crate) async fn in_force(&self, generation: u64) -> Value {
        self.log_line("generation.published", |line| {
            line["generation"] == generation
        })
        .await
    }

    /// Makes a change and waits until it is in force; returns the line that says so.
    pub(crate) async fn after(&self, change: impl FnOnce(&Self)) -> Value {
        let next = self.generations() + 1;
        change(self);
        self.in_force(next).await
    }

    /// Sends a request without content to the admin address, with these fields.
    pub(crate) async fn ask_admin_with(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> RawAnswer {
        let mut raw = Raw::plain(self.admin()).await;
        let fields: String = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        raw.write(format!(
            "{method} {path} HTTP/1.1\r\nHost: admin\r\n{fields}Connection: close\r\n\r\n"
        ))
        .await;
        raw.read_response().await
    }

    /// Has the files looked at now; returns the status, and what came of it.
    pub(crate) async fn reload(&self) -> (u16, Value) {
        self.post("/reload").await
    }

    /// `POST /trust/preview`: who would be refused.
    pub(crate) async fn preview(&self) -> (u16, Value) {
        self.post("/trust/preview").await
    }

    /// `GET /trust`.
    pub(crate) async fn trust(&self) -> Value {
        self.ask_for("/trust").await
    }

    /// `GET /trust/peers`.
    pub(crate) async fn peers(&self) -> Vec<Value> {
        let answer = self.ask_for("/trust/peers").await;
        answer["peers"].as_array().unwrap().clone()
    }

    async fn ask_for(&self, path: &str) -> Value {
        let (status, text) = self.ask_admin(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// `POST` to the admin address, which answers with JSON.
    pub(crate) async fn post(&self, path: &str) -> (u16, Value) {
        let answer = self.ask_admin_with("POST", path, &[]).await;
        let text = &answer.body;
        let content =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        (answer.status, content)
    }
}

/// How many reloads have ended so: `success`, `failure` or `held_back`.
pub(crate) fn counted(metrics: &Metrics, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    metrics.sum("countersign_reloads_total", &[&label])
}

/// Whether what is on disk is not in force, as the metrics have it.
pub(crate) fn is_failing(metrics: &Metrics) -> bool {
    metrics.sum("countersign_reload_failing", &[]) == 1.0
}

/// `NAME.pem` and `NAME.key` with a certificate, for [`Proxy::swap_folder`].
pub(crate) fn files_of(name: &str, leaf: &Leaf) -> [(String, String); 2] {
    [
        (format!("{name}.pem"), leaf.chain_pem()),
        (format!("{name}.key"), leaf.key_pem()),
    ]
}
