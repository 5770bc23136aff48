//! Each call has its own place: what it writes, and what it makes there.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use rustix::process::Signal;
use tigerflow_tests::{Bench, Done, guest, wait_until};

use super::{run, serve};

#[test]
fn an_output_that_the_guest_keeps_open_is_complete_and_stays_so() {
    let bench = Bench::new();
    for number in 0..3 {
        bench.add(format!("a-hold-{number}.txt"), format!("hold {number}"));
    }
    let live = serve(&bench, &[]);
    wait_until("all are published", || bench.names().len() == 3);
    let inode = |name: &str| fs::metadata(bench.output().join(name)).expect("it stands").ino();
    let inodes: Vec<u64> = (0..3).map(|n| inode(&format!("a-hold-{n}.out"))).collect();
    for number in 0..3 {
        assert_eq!(bench.out(format!("a-hold-{number}.out")), format!("HOLD {number}"));
    }
    bench.arrive("scribble.txt", "scribble");
    wait_until("the guest has tried", || bench.has("scribble.out"));
    for (number, before) in inodes.into_iter().enumerate() {
        let name = format!("a-hold-{number}.out");
        assert_eq!(bench.out(&name), format!("HOLD {number}"));
        assert_eq!(inode(&name), before, "nor was it replaced");
    }
    live.signal(Signal::TERM);
    // Nobody was cut off for it.
    assert_eq!(live.wait().expect(143).stdout, "setup\nteardown\n");
    bench.assert_tidy("async-upper");
}

#[test]
fn names_and_links_are_those_of_their_own_call() {
    use std::os::unix::ffi::OsStrExt;
    // What WASI cannot name, and what the host opens for the guest.
    let bench = Bench::new();
    let odd = |byte: u8| std::ffi::OsStr::from_bytes(&[b'n', byte]).to_owned();
    for byte in 0xf0..0xfa {
        let mut name = odd(byte);
        name.push(".txt");
        bench.add(&name, format!("byte {byte}"));
    }
    for number in 0..10 {
        fs::write(bench.path().join(format!("far-{number}")), format!("far {number}")).expect("it");
        let link = bench.input().join(format!("link-{number}.txt"));
        symlink(bench.path().join(format!("far-{number}")), link).expect("a link");
    }
    run(&bench, &["--follow-links"]).expect(0).says("20 succeeded");
    for byte in 0xf0..0xfa {
        let mut name = odd(byte);
        name.push(".out");
        assert_eq!(bench.out(&name), format!("BYTE {byte}"));
    }
    for number in 0..10 {
        assert_eq!(bench.out(format!("link-{number}.out")), format!("FAR {number}"));
    }
}

/// What a hostile task did with its files, and what stands around them.
fn lanes(files: &[(&str, &str)]) -> (Bench, Done) {
    let bench = Bench::new();
    for (name, content) in files {
        bench.add(format!("{name}.txt"), content);
    }
    // What links may lead to: each has the name of an output.
    for (name, _) in files {
        fs::write(bench.path().join(format!("{name}.out")), "from elsewhere").expect("a decoy");
    }
    let done = bench.run(&guest("lanes"), &["--retries", "0"]);
    for (name, _) in files {
        let decoy = fs::read_to_string(bench.path().join(format!("{name}.out")));
        assert_eq!(decoy.expect("it stands"), "from elsewhere");
        let out = bench.output().join(format!("{name}.out"));
        if let Ok(meta) = fs::symlink_metadata(&out) {
            assert!(meta.is_file(), "{name}");
            assert_ne!(fs::read_to_string(&out).expect("a text"), "from elsewhere");
        }
        assert_ne!(bench.has(format!("{name}.out")), bench.has(format!("{name}.err")), "{name}");
    }
    assert_eq!(bench.names().len(), files.len(), "nothing else came: {:?}", bench.names());
    bench.assert_tidy("lanes");
    (bench, done)
}

#[test]
fn a_call_that_replaces_its_directory_publishes_nothing_from_elsewhere() {
    // From the workspace's staging place up to where the decoys are.
    let up = "../../../../../..";
    let up = format!("link {up}");
    let files = [
        ("a-up", &*up),
        ("b-up", "link .."),
        ("c-self", "link ."),
        ("d-input", "link ../../../../../../in"),
        ("e-neighbour", "link 1"),
        ("f-nowhere", "link nowhere"),
        ("g-file", "file"),
        ("h-gone", "gone"),
    ];
    for alone in files {
        let (bench, done) = lanes(&[alone, ("z-good", "good after")]);
        assert_eq!(done.code, 3, "{alone:?}: {}", done.stderr);
        let error = bench.err(format!("{}.err", alone.0));
        assert_eq!(error["exception_type"], "BadOutput", "{alone:?}: {error:#}");
        assert_eq!(bench.out("z-good.out"), "AFTER", "{alone:?}");
    }
    let all: Vec<(&str, &str)> = files.into_iter().chain([("z-good", "good after")]).collect();
    let (bench, _) = lanes(&all);
    assert_eq!(bench.out("z-good.out"), "AFTER");
    // The lanes are used again after that.
    let many: Vec<(String, &str)> = (0..60)
        .map(|n| {
            (format!("{n:02}"), if n % 2 == 0 { files[n / 2 % files.len()].1 } else { "good x" })
        })
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, content)| (&**name, *content)).collect();
    let (bench, _) = lanes(&many);
    for number in (1..60).step_by(2) {
        assert_eq!(bench.out(format!("{number:02}.out")), "X");
    }
}

#[test]
fn calls_that_reach_into_each_others_directories_harm_no_host() {
    // They are one task, and may take from each other; what comes of it is an
    // output or an error of one of them.
    let files = [("a", "write a"), ("b", "write b"), ("c", "wipe")];
    let (bench, _) = lanes(&files);
    assert_eq!(bench.out("c.out"), "wiped");
    let (bench, _) = lanes(&[("a", "write of a"), ("b", "steal")]);
    assert_eq!(bench.out("b.out"), "of a");
    lanes(&[("a", "write of a"), ("b", "swap")]);
    lanes(&[("a", "good a"), ("b", "swap"), ("c", "wipe"), ("d", "gone"), ("e", "steal")]);
    let (bench, done) = lanes(&[("a", "leave"), ("b", "good b"), ("c", "leave")]);
    assert_eq!((done.code, bench.out("a.out")), (0, "left".into()));
}

#[test]
fn an_output_that_is_a_link_is_refused() {
    let up = "plant ../../../../../../../a.out";
    let (bench, _) = lanes(&[("a", up), ("b", "plant b.txt"), ("c", "plant ../2/b.out")]);
    for name in ["a.err", "b.err", "c.err"] {
        assert_eq!(bench.err(name)["exception_type"], "BadOutput");
    }
}
