//! What was measured at each size of something, as a table.

use std::fmt;
use std::time::Duration;

use super::numbers::{Short, median, spread};

/// What some measures come to as something grows.
pub(crate) struct Curve {
    grows: &'static str,
    sizes: Vec<usize>,
    measures: Vec<Measure>,
}

struct Measure {
    name: &'static str,
    unit: Unit,
    /// By size, then by round.
    values: Vec<Vec<f64>>,
}

#[derive(Clone, Copy)]
enum Unit {
    Time,
    /// In KiB.
    Memory,
    /// For each second.
    Rate,
}

impl Curve {
    /// `grows`: what there is more of from size to size, the smallest first.
    pub(crate) fn of(grows: &'static str, sizes: &[usize]) -> Self {
        Self {
            grows,
            sizes: sizes.to_vec(),
            measures: Vec::new(),
        }
    }

    /// Adds a time; `place`: which of the sizes it is of.
    pub(crate) fn time(&mut self, name: &'static str, place: usize, time: Duration) {
        self.add(name, Unit::Time, place, time.as_secs_f64());
    }

    /// Adds memory, in KiB.
    pub(crate) fn memory(&mut self, name: &'static str, place: usize, kibibytes: f64) {
        self.add(name, Unit::Memory, place, kibibytes);
    }

    /// Adds how often something happened in a second.
    pub(crate) fn rate(&mut self, name: &'static str, place: usize, rate: f64) {
        self.add(name, Unit::Rate, place, rate);
    }

    fn add(&mut self, name: &'static str, unit: Unit, place: usize, value: f64) {
        let known = self.measures.iter().position(|known| known.name == name);
        let at = known.unwrap_or_else(|| {
            self.measures.push(Measure {
                name,
                unit,
                values: vec![Vec::new(); self.sizes.len()],
            });
            self.measures.len() - 1
        });
        self.measures[at].values[place].push(value);
    }
}

impl fmt::Display for Curve {
    /// For each measure its median, how far apart the rounds are, in percent of
    /// it, and how many times the smallest size's it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} |", self.grows)?;
        for measure in &self.measures {
            write!(f, " {} | spread | × |", measure.name)?;
        }
        write!(
            f,
            "\n|---:|{}",
            "---:|---:|---:|".repeat(self.measures.len())
        )?;
        for (place, size) in self.sizes.iter().enumerate() {
            write!(f, "\n| {} |", Grouped(*size))?;
            for measure in &self.measures {
                measure.write(place, f)?;
            }
        }
        writeln!(f)
    }
}

impl Measure {
    fn write(&self, place: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = &self.values[place];
        let Some(middle) = median(values) else {
            return write!(f, " – | – | – |");
        };
        match self.unit {
            Unit::Time => write!(f, " {} |", Short(Some(Duration::from_secs_f64(middle)))),
            Unit::Memory if middle >= 1024.0 => write!(f, " {:.1} MiB |", middle / 1024.0),
            Unit::Memory => write!(f, " {middle:.1} KiB |"),
            Unit::Rate => write!(f, " {middle:.0}/s |"),
        }?;
        match spread(values) {
            Some(percent) => write!(f, " {percent:.0} % |")?,
            None => write!(f, " – |")?,
        }
        match self.growth(place) {
            Some(times) => write!(f, " {times:.2} |"),
            None => write!(f, " – |"),
        }
    }

    /// How many times the smallest size's it is: the median over the rounds, of
    /// which each has met the machine in one mood.
    fn growth(&self, place: usize) -> Option<f64> {
        let pairs = self.values[place].iter().zip(&self.values[0]);
        let growths: Vec<_> = pairs.map(|(value, smallest)| value / smallest).collect();
        median(&growths)
    }
}

/// A number with a comma before each three digits.
struct Grouped(usize);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                write!(f, ",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}
