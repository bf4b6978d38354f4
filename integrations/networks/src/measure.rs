use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What a program is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `--threads`.
    pub threads: usize,
    /// `--rounds`.
    pub rounds: usize,
}

impl Options {
    /// A line to be printed above a table.
    #[must_use]
    pub fn title(&self) -> String {
        let Self { threads, rounds } = self;
        format!("batch 1, 224x224, {threads} threads, median (least) of {rounds} rounds in turn, in ms")
    }

    fn from_args() -> Result<Self, String> {
        Self::parse(std::env::args().skip(1))
    }

    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { threads: 1, rounds: 15 };
        while let Some(name) = arguments.next() {
            let value = arguments.next().and_then(|value| value.parse().ok()).filter(|&value| value > 0);
            match (&*name, value) {
                ("--threads", Some(value)) => options.threads = value,
                ("--rounds", Some(value)) => options.rounds = value,
                _ => return Err("usage: networks [--threads N] [--rounds N]".to_owned()),
            }
        }
        Ok(options)
    }
}

/// A program that measures: `run` with what it was called with; its errors are printed.
pub fn main(run: impl FnOnce(Options) -> Result<(), String>) -> ExitCode {
    let options = match Options::from_args() {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// How long something took, each time.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The cells of a table for times of two: median and least of each in ms, and how many times as long the first takes, by the least.
    ///
    /// # Panics
    /// Where one has no time.
    #[must_use]
    pub fn cells(theirs: Self, ours: Self) -> String {
        let [(theirs, their_least), (ours, our_least)] = [theirs, ours].map(Self::summary);
        format!("{theirs} | {ours} | {:.2}", their_least / our_least)
    }

    fn summary(mut self) -> (String, f64) {
        self.0.sort_unstable();
        let [median, least] = [self.0[self.0.len() / 2], self.0[0]].map(|time| time.as_secs_f64() * 1e3);
        (format!("{median:.2} ({least:.2})"), least)
    }
}

/// Calls both in turn, `rounds` times; how long each took.
///
/// # Errors
/// The first of theirs.
pub fn in_turn<E>(rounds: usize, mut runs: [&mut dyn FnMut() -> Result<(), E>; 2]) -> Result<[Times; 2], E> {
    let mut times = [Times::default(), Times::default()];
    for _ in 0..rounds {
        for (run, times) in runs.iter_mut().zip(&mut times) {
            let start = Instant::now();
            run()?;
            times.push(start.elapsed());
        }
    }
    Ok(times)
}

/// The largest difference as a share of the largest value.
///
/// # Errors
/// Outputs that are not the same but for rounding.
pub fn compare(ours: &[f32], theirs: &[f32]) -> Result<f32, String> {
    if ours.len() != theirs.len() {
        return Err(format!("outputs have {} and {} elements", ours.len(), theirs.len()));
    }
    let size = theirs.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let pairs = ours.iter().zip(theirs);
    // A maximum would pass over NaN.
    let same = pairs.clone().all(|(ours, theirs)| (ours - theirs).abs() <= 1e-3 * size);
    let difference = pairs.fold(0.0_f32, |most, (ours, theirs)| most.max((ours - theirs).abs()));
    if !(size > 0.0 && same) {
        return Err(format!("outputs of a size of {size} differ by {difference}"));
    }
    Ok(difference / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let parse = |line: &str| Options::parse(line.split_whitespace().map(str::to_owned));
        assert_eq!(parse(""), Ok(Options { threads: 1, rounds: 15 }));
        assert_eq!(parse("--rounds 3 --threads 2"), Ok(Options { threads: 2, rounds: 3 }));
        for wrong in ["--threads", "--threads 0", "--rounds x", "--other 1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn outputs_have_to_agree() {
        assert_eq!(compare(&[2.0, 0.0], &[2.0, 0.0]), Ok(0.0));
        for wrong in [&[2.0, 0.01][..], &[f32::NAN, 0.0], &[2.0]] {
            assert!(compare(wrong, &[2.0, 0.0]).is_err(), "{wrong:?}");
        }
        assert!(compare(&[0.0], &[0.0]).is_err(), "nothing was computed");
    }

    #[test]
    fn times_are_summed_up() {
        let times = |millis: &[u64]| Times(millis.iter().map(|&time| Duration::from_millis(time)).collect());
        assert_eq!(Times::cells(times(&[5, 3, 9]), times(&[2, 1, 2])), "5.00 (3.00) | 2.00 (1.00) | 3.00");
    }
}
