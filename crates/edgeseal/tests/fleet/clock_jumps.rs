//! Clocks that jump by an hour, of an edge and of the control plane: everything is answered meanwhile, and afterwards
//! everything is as before.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{eventually, now};
use crate::fleet::{Site, UnderLoad};

const HOUR_SECONDS: i64 = 3600;
/// Names libfaketime where it is not where Debian puts it.
const LIBRARY_VARIABLE: &str = "EDGESEAL_TEST_FAKETIME_LIB";

#[test]
fn the_clock_of_an_edge_jumps() {
    let site = Site::sqlite();
    let control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let clock = Clock::new(&site.path("edge-clock"));
    let edge = site.edge_in("edge", &control.url, &api, &[], &clock.variables());
    let load = UnderLoad::start([&edge]);

    let mut paused = false;
    for jump in [HOUR_SECONDS, -HOUR_SECONDS] {
        clock.jump(jump);
        eventually("the edge lives in another hour", || {
            let iat = crate::common::claims_of(&edge.token("somebody")).unwrap()["iat"].as_i64().unwrap();
            (iat - now().unix_seconds() - jump).abs() < 300
        });
        paused = !paused;
        let before = edge.refusals();
        api.turn("checkout", if paused { "pause" } else { "resume" });
        eventually("what comes from another hour is refused and counted", || edge.refusals() > before);
        clock.jump(0);
        eventually("with the right time it hears of what it missed", || edge.halts("checkout") == paused);
        assert!(edge.is_ready());
    }
    load.finish();
}

#[test]
fn the_clock_of_the_control_plane_jumps() {
    let site = Site::sqlite();
    let clock = Clock::new(&site.path("control-clock"));
    let control = site.control_in(&[], &clock.variables());
    let api = control.api();
    api.start_experiment("checkout", 500);
    let edge = site.edge("edge", &control.url, &api, &[]);
    let load = UnderLoad::start([&edge]);

    let mut paused = false;
    for jump in [HOUR_SECONDS, -HOUR_SECONDS] {
        clock.jump(jump);
        paused = !paused;
        // Whenever this happened by the control plane's clock: it is not lost.
        api.turn("checkout", if paused { "pause" } else { "resume" });
        let newest = api.get("/audit?limit=1")["items"][0]["entry"]["at_ms"].as_i64().unwrap();
        assert!((newest / 1_000 - now().unix_seconds() - jump).abs() < 300, "the clock did not jump");
        clock.jump(0);
        eventually("the change is heard once the time is right", || edge.halts("checkout") == paused);
        let cv = api.newest_cv();
        eventually("and so is the snapshot that was signed in the wrong hour", || edge.cv() == cv);
        paused = !paused;
        api.turn("checkout", if paused { "pause" } else { "resume" });
        eventually("the next change is heard as ever", || edge.halts("checkout") == paused);
        assert!(edge.is_ready());
    }
    load.finish();
}

/// A clock that processes see through libfaketime.
struct Clock {
    offset: PathBuf,
    library: String,
}

impl Clock {
    fn new(offset: &Path) -> Self {
        let clock = Self { offset: offset.to_owned(), library: library() };
        clock.jump(0);
        clock
    }

    /// Sets the clock `seconds` ahead of the machine's.
    fn jump(&self, seconds: i64) {
        // As a whole: a process must not read half a number.
        let fresh = self.offset.with_extension("fresh");
        fs::write(&fresh, format!("{seconds:+}\n")).unwrap();
        fs::rename(&fresh, &self.offset).unwrap();
    }

    /// For the process that is to live by this clock. What it measures time spans with is left alone, as a machine would.
    fn variables(&self) -> [(&str, &str); 5] {
        [
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ]
    }
}

fn library() -> String {
    if let Ok(path) = std::env::var(LIBRARY_VARIABLE) {
        return path;
    }
    let architectures = fs::read_dir("/usr/lib").into_iter().flatten().map_while(Result::ok);
    let found = architectures
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.exists());
    match found {
        Some(path) => path.to_str().unwrap().to_owned(),
        None => panic!(
            "no libfaketime for the tests: run scripts/install-faketime.sh, or name it in {LIBRARY_VARIABLE}"
        ),
    }
}
