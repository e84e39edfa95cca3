//! Asks all guests at once, and writes what they say in one text.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use coracle_metrics::{
    END, Family, Files, GUEST, HOST, Label, Sample, Value, samples, write_head, write_sample,
};

use crate::error::{Error, Result};
use crate::observe::{Client, process};
use crate::{instances, log};

/// How long a guest may take to answer: less than Prometheus waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// A value with its labels.
struct Owned {
    labels: Vec<(String, String)>,
    value: Value,
}

impl Owned {
    fn of(sample: &Sample<'_>) -> Owned {
        let labels = sample.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Owned { labels: labels.collect(), value: sample.value }
    }
}

/// What is known of a guest: values by the name of their family.
struct Guest {
    name: String,
    values: HashMap<&'static str, Vec<Owned>>,
}

/// Files of a guest, each asked for once.
struct Asked<'a> {
    client: &'a mut Client,
    texts: HashMap<String, String>,
    error: Option<Error>,
}

impl Files for Asked<'_> {
    fn lines(&mut self, path: &str, take: &mut dyn FnMut(&str)) {
        if !self.texts.contains_key(path) && self.error.is_none() {
            match self.client.text(path) {
                Ok(text) => drop(self.texts.insert(path.to_owned(), text)),
                Err(error) => self.error = Some(error),
            }
        }
        self.texts.get(path).iter().for_each(|text| text.lines().for_each(&mut *take));
    }

    fn numbers(&mut self, path: &str) -> u64 {
        if self.error.is_some() {
            return 0;
        }
        match self.client.numbers(path) {
            Ok(numbers) => numbers.len() as u64,
            Err(error) => {
                self.error = Some(error);
                0
            }
        }
    }
}

impl Guest {
    /// Asks a guest that runs.
    fn ask(name: String, threads: bool) -> Guest {
        let mut values: HashMap<&'static str, Vec<Owned>> = HashMap::new();
        let answered = Self::ask_all(&name, threads, &mut values);
        let is_up = answered.is_ok();
        if !is_up {
            // Half an answer would look like one.
            values.clear();
        }
        let lost = log::note(&name).map_or(0, |note| note.lost);
        let known = [u64::from(is_up), instances::restarts(&name).into(), lost];
        for (family, number) in HOST.iter().zip(known) {
            let value = Value { number, scale: family.scale };
            values.insert(family.name, vec![Owned { labels: Vec::new(), value }]);
        }
        Guest { name, values }
    }

    fn ask_all(name: &str, threads: bool, values: &mut HashMap<&'static str, Vec<Owned>>) -> Result<()> {
        let mut client = Client::connect(name)?;
        client.set_patience(PATIENCE)?;
        let mut asked = Asked { client: &mut client, texts: HashMap::new(), error: None };
        for family in GUEST {
            let own = values.entry(family.name).or_default();
            samples(&mut asked, family, &mut |sample| own.push(Owned::of(sample)));
        }
        if let Some(error) = asked.error {
            return Err(error);
        }
        let Some(family) = HOST.last().filter(|_| threads) else { return Ok(()) };
        for process in process::processes(&mut client, None)? {
            for thread in process::threads(&mut client, process.id)? {
                let label = |name: &str, value: String| (name.to_owned(), value);
                let labels = vec![
                    label("pid", process.id.to_string()),
                    label("tid", thread.id.to_string()),
                    label("thread", thread.name.clone()),
                ];
                let value = Value { number: thread.cpu_ticks, scale: family.scale };
                values.entry(family.name).or_default().push(Owned { labels, value });
            }
        }
        Ok(())
    }
}

/// The metrics of all guests that run. Those of a guest that does not answer are missing, but for `coracle_guest_up`.
///
/// # Errors
/// If the user's directory of guests can't be read.
pub fn text(threads: bool) -> Result<String> {
    let mut names = instances::names()?;
    names.retain(|name| instances::is_running(name).unwrap_or(false));
    let guests: Vec<Guest> = thread::scope(|scope| {
        let asking: Vec<_> =
            names.into_iter().map(|name| scope.spawn(move || Guest::ask(name, threads))).collect();
        asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let mut text = String::new();
    for family in HOST.iter().chain(GUEST) {
        write_family(&mut text, family, &guests)
            .map_err(|error| Error::new("cannot write metrics").why(error))?;
    }
    Ok(text + END)
}

fn write_family(text: &mut String, family: &Family, guests: &[Guest]) -> std::fmt::Result {
    if guests.iter().all(|guest| guest.values.get(family.name).is_none_or(Vec::is_empty)) {
        return Ok(());
    }
    write_head(text, family)?;
    for guest in guests {
        for owned in guest.values.get(family.name).into_iter().flatten() {
            let labels: Vec<Label<'_>> =
                owned.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let sample = Sample { labels: &labels, value: owned.value };
            write_sample(text, family, &[("guest", &guest.name)], &sample)?;
        }
    }
    Ok(())
}
