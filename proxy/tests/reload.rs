//! Reloading: a good configuration replaces the one in force, a bad one is told and changes nothing.

use std::{path::Path, rc::Rc, sync::Arc, time::Duration};

use ownergate::{
    config::{Config, Environment, LogLevel, Settings},
    serve::{
        Control, Proxy, Silent, State, Threshold,
        jwks::{Fetcher, KeyStore, Pace},
        reload::{LOOK, Load, Loaded, Reloader},
        systemd::Inherited,
    },
};
use tempfile::TempDir;
use tokio::{
    task::{LocalSet, yield_now},
    time::sleep,
};

fn with_route(path: &str) -> String {
    format!(
        r#"
        [server]
        listen = ["127.0.0.1:0"]
        admin = "off"
        [[issuer]]
        name = "local"
        secret_env = "SECRET"
        [upstream.app]
        url = "http://127.0.0.1:1"
        [[route]]
        path = "{path}"
        access = "signed-in"
        upstream = "app"
        "#
    )
}

fn load(file: &Path) -> Result<Loaded, Vec<String>> {
    let settings = Settings { config: Some(file.display().to_string()), ..Settings::default() };
    let variable = ("SECRET".into(), "0123456789abcdef0123456789abcdef".into());
    let environment: Environment = [variable].into_iter().collect();
    match Config::load(&settings, &environment, &|path| std::fs::read(path)) {
        Ok((config, _)) => Ok(Loaded { config, files: vec![file.into()] }),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}

/// A proxy that is bound by a file, and what reloads it.
async fn start(folder: &TempDir, text: &str) -> (std::path::PathBuf, Control, Rc<Reloader>) {
    start_with(folder, text, Threshold::new(LogLevel::Info)).await
}

async fn start_with(folder: &TempDir, text: &str, threshold: Threshold) -> (std::path::PathBuf, Control, Rc<Reloader>) {
    let file = folder.path().join("ownergate.toml");
    std::fs::write(&file, text).expect("the folder can be written");
    let config = load(&file).expect("the configuration is good").config;
    let fetcher = Fetcher::new(Arc::default(), Duration::from_secs(5));
    let keys = KeyStore::open(&config.issuers, &fetcher, Pace::default(), None).await;
    let keys = Arc::new(keys.map_err(|faults| faults.len()).expect("secrets can be opened"));
    let state = State::new(config, keys).map_err(|faults| faults.len()).expect("there is no certificate");
    let control = Proxy::bind(state, Arc::new(Silent), Inherited::default()).expect("a free port").control();
    let again: Box<Load> = {
        let file = file.clone();
        Box::new(move || load(&file))
    };
    let reloader = Reloader::new(again, control.clone(), threshold, fetcher, Pace::default());
    (file, control, Rc::new(reloader))
}

/// Lets look after look go by, on a paused clock, until this is so.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..10 {
        if is_so() {
            return;
        }
        sleep(LOOK).await;
    }
    panic!("so many looks have changed nothing");
}

fn routes(control: &Control) -> Vec<String> {
    control.state().config.policy.routes().iter().map(|route| route.pattern.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_good_configuration_is_in_force_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (file, control, reloader) = start(&folder, &with_route("/a")).await;
    let generation = control.state().keys.generation();
    std::fs::write(&file, with_route("/b")).unwrap();
    assert_eq!(reloader.reload().await, Some(vec![file]));
    assert_eq!(routes(&control), ["/b"]);
    assert!(control.state().keys.generation() > generation, "verified tokens are verified again");
}

#[tokio::test]
async fn a_bad_configuration_is_told_and_the_old_one_stays_until_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let (file, control, reloader) = start(&folder, &with_route("/a")).await;
    std::fs::write(&file, with_route("/b").replace("signed-in", "signedin")).unwrap();
    assert_eq!(reloader.reload().await, None);
    assert_eq!(routes(&control), ["/a"]);
    assert!(reloader.fault().unwrap().contains("signedin"), "{:?}", reloader.fault());
    std::fs::write(&file, with_route("/c")).unwrap();
    reloader.reload().await;
    assert_eq!((routes(&control), reloader.fault()), (vec!["/c".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_loaded_also_when_a_link_was_pointed_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (file, control, reloader) = start(&folder, &with_route("/a")).await;
    let change = async {
        // The first look, at what was started with.
        yield_now().await;
        std::fs::write(&file, with_route("/written")).unwrap();
        until(|| routes(&control) == ["/written"]).await;

        let other = folder.path().join("other.toml");
        std::fs::write(&other, with_route("/linked")).unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join("link")).unwrap();
        std::fs::rename(folder.path().join("link"), &file).unwrap();
        until(|| routes(&control) == ["/linked"]).await;

        std::fs::remove_file(&file).unwrap();
        until(|| reloader.fault().is_some()).await;
        assert_eq!(routes(&control), ["/linked"]);
    };
    let files = vec![file.clone()];
    let watching = Rc::clone(&reloader);
    let local = LocalSet::new();
    local.spawn_local(async move { watching.run(files).await });
    local.run_until(change).await;
}

#[tokio::test]
async fn a_new_log_level_is_in_force_and_one_set_by_hand_outlasts_other_changes() {
    let folder = tempfile::tempdir().unwrap();
    let threshold = Threshold::new(LogLevel::Info);
    let (file, _, reloader) = start_with(&folder, &with_route("/a"), threshold.clone()).await;
    threshold.set(LogLevel::Trace);
    std::fs::write(&file, with_route("/b")).unwrap();
    reloader.reload().await;
    assert_eq!(threshold.level(), LogLevel::Trace);
    std::fs::write(&file, format!("{}\n[log]\nlevel = \"warn\"\n", with_route("/b"))).unwrap();
    reloader.reload().await;
    assert_eq!(threshold.level(), LogLevel::Warn);
}
