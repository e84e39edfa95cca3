//! What a person says of calls by pointers where the built kernel doesn't show it: `xtask/pointer-calls.txt`.
//!
//! A line: a part of the name of the function that the call is in, as the source has it, inlined or not (the whole, if
//! it has no `::`; `*`: any), the name that is called there (`*`: any or none), `=`, and what the call reaches, separated by commas:
//!
//! | words | functions |
//! |---|---|
//! | `trait NAME` | those in the call's slot of the tables of the traits of this name |
//! | `closure` | those in the call's slot of the tables of closures |
//! | `fn PART` | those whose names contain PART |
//! | `static PART` | those of them whose addresses are in data, but not in tables of methods |
//! | `table NAME` | those in the variable of this name |
//! | `nothing` | none, where it isn't known what: such a call is not made on the stacks that count |
//! | `elsewhere` | none, whatever is known: the function runs on another stack |
//!
//! The first line that fits holds. `#` begins a comment: a line says why it is right where its words don't.

/// What a call may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaches {
    /// A trait's methods.
    Trait(String),
    /// Closures.
    Closure,
    /// The functions of names with this part.
    Functions(String),
    /// Those in data outside of tables of methods.
    Static(String),
    /// The functions in a variable.
    Variable(String),
    /// None, if it isn't known what.
    Nothing,
    /// None: what it reaches runs on another stack.
    Elsewhere,
}

/// A line of the list.
#[derive(Debug)]
pub struct Rule {
    /// The number of the line in the file.
    pub line: usize,
    function: String,
    called: Option<String>,
    /// What the call may reach.
    pub reaches: Vec<Reaches>,
}

/// The list.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Reads the list.
    ///
    /// # Errors
    /// A text for people that names the line.
    pub fn parse(text: &str) -> Result<Rules, String> {
        let lines = text
            .lines()
            .enumerate()
            .map(|(number, line)| (number + 1, line.split('#').next().unwrap_or("").trim()));
        let rules = lines.filter(|(_, line)| !line.is_empty()).map(|(line, text)| {
            let wrong = |what: &str| format!("line {line}: {what}");
            let (call, reaches) = text
                .rsplit_once(" = ")
                .ok_or_else(|| wrong("a function, what it calls, `=` and what that reaches are expected"))?;
            let (function, called) = call
                .trim()
                .rsplit_once(' ')
                .ok_or_else(|| wrong("what is called is missing: a name or `*`"))?;
            let reaches = reaches
                .split(',')
                .map(|word| {
                    Reaches::parse(word.trim()).ok_or_else(|| {
                        wrong(&format!(
                            "{}: trait, closure, fn, static, table, nothing or elsewhere is expected",
                            word.trim()
                        ))
                    })
                })
                .collect::<Result<_, _>>()?;
            let called = (called != "*").then(|| called.to_owned());
            Ok(Rule { line, function: function.trim().to_owned(), called, reaches })
        });
        rules.collect::<Result<_, String>>().map(Rules)
    }

    /// The rule of a call in the functions of these names, of something of this name.
    pub fn find(&self, functions: &[String], called: Option<&str>) -> Option<&Rule> {
        self.0.iter().find(|rule| {
            let fits = |name: &String| match rule.function.as_str() {
                "*" => true,
                part if part.contains("::") => name.contains(part),
                whole => name == whole,
            };
            functions.iter().any(fits) && (rule.called.is_none() || rule.called.as_deref() == called)
        })
    }

    /// All rules.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }
}

impl Reaches {
    fn parse(word: &str) -> Option<Reaches> {
        match word.split_once(' ') {
            None if word == "closure" => Some(Reaches::Closure),
            None if word == "nothing" => Some(Reaches::Nothing),
            None if word == "elsewhere" => Some(Reaches::Elsewhere),
            Some(("trait", name)) => Some(Reaches::Trait(name.to_owned())),
            Some(("fn", part)) => Some(Reaches::Functions(part.to_owned())),
            Some(("static", part)) => Some(Reaches::Static(part.to_owned())),
            Some(("table", name)) => Some(Reaches::Variable(name.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_holds() {
        let rules =
            Rules::parse("# calls\nfile::read size = fn Memory # why\nfile:: * = trait File, nothing\n")
                .unwrap();
        let within = ["kernel::file::read".to_owned(), "kernel::open".to_owned()];
        assert_eq!(rules.find(&within, Some("size")).map(|rule| rule.line), Some(2));
        let other = rules.find(&within, None).unwrap();
        assert_eq!(other.reaches, [Reaches::Trait("File".into()), Reaches::Nothing]);
        assert!(rules.find(&within[1..], Some("size")).is_none());
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        assert!(Rules::parse("\nfile::read = trait File\n").unwrap_err().contains("line 2"));
        assert!(Rules::parse("file::read * = File\n").unwrap_err().contains("File: trait, closure"));
    }
}
