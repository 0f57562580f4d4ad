//! Changes of the project file and of the files that it names are noticed, by whatever way they come.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crosspoint_hub::ProjectWatch;
use tempfile::TempDir;
use tokio::time::timeout;

/// The longest that a change may take to be noticed.
const WITHIN: Duration = Duration::from_secs(20);

/// How long nothing is to be noticed: longer than a change takes.
const NOTHING: Duration = Duration::from_millis(1_500);

struct Site {
    folder: TempDir,
    watch: ProjectWatch,
}

impl Site {
    /// Watches a project that names these files, which lie in a folder `certs` beside it.
    fn new(files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("certs")).unwrap();
        std::fs::write(path("crosspoint.toml"), "").unwrap();
        files.iter().for_each(|file| std::fs::write(path("certs").join(file), "one").unwrap());
        let mut watch = ProjectWatch::start(&path("crosspoint.toml")).unwrap();
        let files: BTreeSet<PathBuf> = files.iter().map(|file| path("certs").join(file)).collect();
        watch.follow(&files);
        Self { folder, watch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn notices(&mut self) -> bool {
        timeout(WITHIN, self.watch.changed()).await.is_ok()
    }

    async fn notices_nothing(&mut self) -> bool {
        timeout(NOTHING, self.watch.changed()).await.is_err()
    }
}

#[tokio::test]
async fn a_file_that_is_written_replaced_removed_or_back_is_noticed() {
    let mut site = Site::new(&["a.pem"]);
    let (file, fresh) = (site.path("certs/a.pem"), site.path("certs/fresh"));
    std::fs::write(&file, "another").unwrap();
    assert!(site.notices().await);
    std::fs::write(&fresh, "a third one").unwrap();
    std::fs::rename(&fresh, &file).unwrap();
    assert!(site.notices().await);
    std::fs::remove_file(&file).unwrap();
    assert!(site.notices().await);
    std::fs::write(&file, "back").unwrap();
    assert!(site.notices().await);
    assert!(site.notices_nothing().await, "it is told once");
    std::fs::write(site.path("crosspoint.toml"), "[console]\n").unwrap();
    assert!(site.notices().await);
}

#[tokio::test]
async fn what_else_happens_in_the_folders_is_not_told() {
    let mut site = Site::new(&["a.pem"]);
    std::fs::write(site.path("certs/other.pem"), "x").unwrap();
    std::fs::write(site.path("other.toml"), "x").unwrap();
    assert!(site.notices_nothing().await);
    site.watch.follow(&BTreeSet::new());
    std::fs::write(site.path("certs/a.pem"), "not followed any more").unwrap();
    assert!(site.notices_nothing().await);
}

/// A change that comes while nobody waits is told to the next who does.
#[tokio::test]
async fn a_change_is_not_lost_between_two_waits() {
    let mut site = Site::new(&["a.pem"]);
    assert!(timeout(Duration::ZERO, site.watch.changed()).await.is_err());
    std::fs::write(site.path("certs/a.pem"), "another").unwrap();
    assert!(timeout(Duration::ZERO, site.watch.changed()).await.is_err());
    assert!(site.notices().await);
}

/// Mounted secrets are links to a folder that is itself a link, and that one is turned.
#[cfg(unix)]
#[tokio::test]
async fn a_link_on_the_way_that_is_turned_is_noticed_again_and_again() {
    use std::fs::File;
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    let mut site = Site::new(&[]);
    let turn = |name: &str, folder: &Path| {
        std::fs::create_dir(folder.join(name)).unwrap();
        // Size and time are the same each time: only where the link leads to tells.
        let file = File::create(folder.join(name).join("tls.crt")).unwrap();
        file.set_len(5).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        symlink(name, folder.join("..fresh")).unwrap();
        std::fs::rename(folder.join("..fresh"), folder.join("..data")).unwrap();
    };
    let certs = site.path("certs");
    turn("first", &certs);
    symlink("..data/tls.crt", certs.join("tls.crt")).unwrap();
    site.watch.follow(&BTreeSet::from([certs.join("tls.crt")]));
    for name in ["other", "third"] {
        turn(name, &certs);
        assert!(site.notices().await, "{name}");
    }
    // What the link leads to may be written in its place as well.
    std::fs::write(certs.join("third/tls.crt"), "written in its place").unwrap();
    assert!(site.notices().await);
}
