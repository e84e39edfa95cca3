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

/// What a guest says of itself: values by the name of their family.
#[derive(Default)]
pub struct Values(HashMap<&'static str, Vec<Owned>>);

impl Values {
    /// Asks a guest.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn ask(client: &mut Client) -> Result<Values> {
        let mut values = Values::default();
        let mut asked = Asked { client, texts: HashMap::new(), error: None };
        for family in GUEST {
            let own = values.0.entry(family.name).or_default();
            samples(&mut asked, family, &mut |sample| own.push(Owned::of(sample)));
        }
        match asked.error {
            Some(error) => Err(error),
            None => Ok(values),
        }
    }

    /// The values of a family that have this label, if one is given, each with its first label's value.
    pub fn of(&self, family: &str, label: Option<(&str, &str)>) -> impl Iterator<Item = (&str, f64)> {
        let all = self.0.get(family).into_iter().flatten();
        let is_wanted = move |own: &&Owned| {
            label.is_none_or(|(name, value)| own.labels.iter().any(|(key, has)| key == name && has == value))
        };
        all.filter(is_wanted).map(|own| {
            let first = own.labels.first().map_or("", |(_, value)| value.as_str());
            // It is written as a number.
            (first, own.value.to_string().parse().unwrap_or_default())
        })
    }

    /// Their sum.
    pub fn sum(&self, family: &str, label: Option<(&str, &str)>) -> f64 {
        self.of(family, label).map(|(_, value)| value).sum()
    }
}

/// A guest and what is known of it.
struct Guest {
    name: String,
    values: Values,
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
        let answered = Self::ask_all(&name, threads);
        let is_up = answered.is_ok();
        // Half an answer would look like one.
        let mut values = answered.unwrap_or_default();
        let lost = log::note(&name).map_or(0, |note| note.lost);
        let known = [u64::from(is_up), instances::restarts(&name).into(), lost];
        for (family, number) in HOST.iter().zip(known) {
            let value = Value { number, scale: family.scale };
            values.0.insert(family.name, vec![Owned { labels: Vec::new(), value }]);
        }
        Guest { name, values }
    }

    fn ask_all(name: &str, threads: bool) -> Result<Values> {
        let mut client = Client::connect(name)?;
        client.set_patience(PATIENCE)?;
        let mut values = Values::ask(&mut client)?;
        let Some(family) = HOST.last().filter(|_| threads) else { return Ok(values) };
        for process in process::processes(&mut client, None)? {
            for thread in process::threads(&mut client, process.id)? {
                let label = |name: &str, value: String| (name.to_owned(), value);
                let labels = vec![
                    label("pid", process.id.to_string()),
                    label("tid", thread.id.to_string()),
                    label("thread", thread.name.clone()),
                ];
                let value = Value { number: thread.cpu_ticks, scale: family.scale };
                values.0.entry(family.name).or_default().push(Owned { labels, value });
            }
        }
        Ok(values)
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
    if guests.iter().all(|guest| guest.values.0.get(family.name).is_none_or(Vec::is_empty)) {
        return Ok(());
    }
    write_head(text, family)?;
    for guest in guests {
        for owned in guest.values.0.get(family.name).into_iter().flatten() {
            let labels: Vec<Label<'_>> =
                owned.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let sample = Sample { labels: &labels, value: owned.value };
            write_sample(text, family, &[("guest", &guest.name)], &sample)?;
        }
    }
    Ok(())
}
