//! Locks, manifests, and where plugins are looked for. Nothing here is loaded, so any file will do.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use realsafe_host::{Candidate, Digest, Lock, LockError, Manifest, ManifestError, Verdict, find, manifest_path};
use tempfile::TempDir;

fn file(folder: &Path, name: &str, content: &str) -> (PathBuf, Digest) {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    let digest = Digest::of_file(&path).unwrap();
    (path.canonicalize().unwrap(), digest)
}

#[test]
fn digests_are_blake3() {
    let folder = TempDir::new().unwrap();
    let (_, digest) = file(folder.path(), "empty.so", "");
    let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    assert_eq!(digest.to_string(), text);
    assert_eq!(text.parse(), Ok(digest));
    assert!("af13".parse::<Digest>().unwrap_err().contains("64 hexadecimal digits"));
}

#[test]
fn trust_goes_by_content_and_path() {
    let folder = TempDir::new().unwrap();
    let lock_path = folder.path().join("realsafe.lock");
    let (b, b_digest) = file(folder.path(), "b.so", "b");
    let (a, a_digest) = file(folder.path(), "a.so", "a");
    assert_eq!(Lock::read(&lock_path).unwrap(), Lock::default());
    Lock::trust(&lock_path, &b, b_digest, Some("second")).unwrap();
    let lock = Lock::trust(&lock_path, &a, a_digest, None).unwrap();
    assert_eq!(Lock::read(&lock_path).unwrap(), lock);
    let paths: Vec<_> = lock.pins.iter().map(|pin| pin.path.clone()).collect();
    assert_eq!(paths, [Path::new("a.so"), Path::new("b.so")], "sorted, and relative to the lock");

    let (a, changed) = file(folder.path(), "a.so", "changed");
    assert_eq!(lock.verdict(&lock_path, &a, changed), Verdict::Changed(a_digest));
    assert_eq!(lock.verdict(&lock_path, &b, b_digest), Verdict::Trusted);
    let (moved, moved_digest) = file(folder.path(), "moved.so", "b");
    assert_eq!(lock.verdict(&lock_path, &moved, moved_digest), Verdict::Trusted, "the same content");
    let (new, new_digest) = file(folder.path(), "new.so", "new");
    assert_eq!(lock.verdict(&lock_path, &new, new_digest), Verdict::Unknown);

    let lock = Lock::trust(&lock_path, &a, changed, None).unwrap();
    assert_eq!(lock.pins.len(), 2, "the entry was replaced");
    assert_eq!(lock.verdict(&lock_path, &a, changed), Verdict::Trusted);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains(".new")), "{names:?}");
}

#[test]
fn malformed_locks_are_refused_with_their_line() {
    let folder = TempDir::new().unwrap();
    let cases = [
        ("[[plugin]]\npath = \"a.so\"\nblake3 = \"12\"\n", 3, "64 hexadecimal digits"),
        ("\n[[plugin]]\npath = 3\n", 3, "string"),
        ("plugins = []\n", 1, "unknown field"),
        ("[[plugin]\n", 1, ""),
    ];
    for (text, expected, words) in cases {
        let (path, _) = file(folder.path(), "realsafe.lock", text);
        let error = Lock::read(&path).unwrap_err();
        let LockError::Malformed { line, reason, .. } = &error else { panic!("{error}") };
        assert_eq!(*line, expected, "{error}");
        assert!(reason.contains(words), "{error}");
    }
}

#[test]
fn plugins_are_found_once_and_in_order() {
    let folder = TempDir::new().unwrap();
    let [named, listed, plugins] = ["named", "listed", "plugins"].map(|name| folder.path().join(name));
    for folder in [&named, &listed, &plugins.join("below")] {
        fs::create_dir_all(folder).unwrap();
    }
    let (first, _) = file(&named, "z.so", "");
    let (second, _) = file(&listed, "b.so", "");
    let (third, _) = file(&listed, "a.dylib", "");
    let (fourth, _) = file(&plugins, "c.so", "");
    let (single, _) = file(&named, "single.so", "");
    file(&plugins, "notes.txt", "");
    file(&plugins.join("below"), "deep.so", "");
    std::os::unix::fs::symlink(&first, plugins.join("again.so")).unwrap();

    let variable = OsString::from(format!("{}::{}", listed.display(), single.display()));
    let found = find(&[(first.clone(), "the spec".to_owned())], Some(&variable), &plugins).unwrap();
    let paths: Vec<_> = found.iter().map(|candidate| candidate.path.clone()).collect();
    assert_eq!(paths, [first.clone(), third, second, single, fourth]);
    assert_eq!(found[0], Candidate { path: first, origin: "the spec".to_owned() });
    assert!(found[1].origin.starts_with("REALSAFE_PLUGIN_PATH ("), "{}", found[1].origin);
    assert!(found[4].origin.starts_with("the folder "), "{}", found[4].origin);
    assert!(find(&[], None, &folder.path().join("absent")).unwrap().is_empty());
    let absent = OsString::from("/does/not/exist");
    assert!(find(&[], Some(&absent), &plugins).unwrap_err().to_string().contains("/does/not/exist"));
}

#[test]
fn manifests_lie_beside_libraries() {
    let folder = TempDir::new().unwrap();
    let (library, _) = file(folder.path(), "libmine.so", "");
    assert_eq!(manifest_path(&library).file_name().unwrap(), "libmine.plugin.toml");
    assert_eq!(Manifest::beside(&library).unwrap(), None);
    let manifest = Manifest {
        name: "mine".to_owned(),
        version: "1".to_owned(),
        licence: "MIT".to_owned(),
        abi: "1.1".to_owned(),
        components: Vec::new(),
    };
    manifest.write_beside(&library).unwrap();
    assert_eq!(Manifest::beside(&library).unwrap(), Some(manifest));
    fs::write(manifest_path(&library), "name = 3").unwrap();
    let error = Manifest::beside(&library).unwrap_err();
    assert!(matches!(error, ManifestError::Malformed { .. }));
    assert!(error.to_string().contains("line 1"), "{error}");
}
