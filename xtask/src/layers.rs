//! The layers of the kernel, and the arrows between its modules: which module uses which.
//!
//! `xtask/layers.txt` has the layers, and after `upward` the arrows that still run from a lower layer to a higher one. No
//! other may; one that is gone has to come off the list.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use syn::visit::Visit;
use syn::{Ident, ItemUse, UseTree};

/// A module's path with its crate, `core::fs::file` say.
type Module = String;

/// What the names of the kernel's crates begin with.
const PREFIX: &str = "coracle_";

/// An arrow: a module, and one that it uses.
pub type Arrow = (Module, Module);

/// The layers and the arrows upwards that are known.
pub struct Layers {
    /// Their names and modules, the lowest first.
    layers: Vec<(String, Vec<Module>)>,
    upward: BTreeSet<Arrow>,
}

impl Layers {
    /// Reads `layer NAME: MODULE…` and `upward MODULE -> MODULE` lines.
    ///
    /// # Errors
    /// A line that is neither.
    pub fn parse(text: &str) -> Result<Layers, String> {
        let mut found = Layers { layers: Vec::new(), upward: BTreeSet::new() };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let wrong = || format!("`{line}` is neither `layer NAME: MODULE…` nor `upward MODULE -> MODULE`");
            if let Some(rest) = line.strip_prefix("layer ") {
                let (name, modules) = rest.split_once(':').ok_or_else(wrong)?;
                let modules = modules.split_whitespace().map(str::to_string).collect();
                found.layers.push((name.to_string(), modules));
            } else {
                let (from, to) = line
                    .strip_prefix("upward ")
                    .and_then(|rest| rest.split_once(" -> "))
                    .ok_or_else(wrong)?;
                found.upward.insert((from.to_string(), to.to_string()));
            }
        }
        Ok(found)
    }

    /// The number of a module's layer, from 0.
    fn of(&self, module: &str) -> Option<usize> {
        let modules =
            self.layers.iter().enumerate().flat_map(|(n, (_, all))| all.iter().map(move |m| (n, m)));
        let covering = modules.filter(|(_, prefix)| covers(prefix, module));
        covering.max_by_key(|(_, prefix)| prefix.len()).map(|(number, _)| number)
    }
}

/// Whether `module` is `prefix`, or is in it.
fn covers(prefix: &str, module: &str) -> bool {
    module.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// All arrows between the modules of the kernel's crates: the one in `kernel`, and those in the directories there.
///
/// # Errors
/// A file that can't be read or is no Rust.
pub fn arrows(kernel: &Path) -> Result<BTreeSet<Arrow>, String> {
    let mut files = BTreeMap::new();
    read(&kernel.join("src"), &["kernel".to_string()], &mut files)?;
    let wrong = |e| format!("cannot read {}: {e}", kernel.display());
    for entry in fs::read_dir(kernel).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        if path.join("Cargo.toml").exists() {
            read(&path.join("src"), &[name], &mut files)?;
        }
    }
    let known: BTreeSet<Module> = files.keys().map(|path| path.join("::")).collect();
    let mut found = BTreeSet::new();
    for (path, text) in &files {
        let file = syn::parse_file(text).map_err(|e| format!("{}: {e}", path.join("::")))?;
        let mut uses = Uses { of: path, paths: Vec::new() };
        uses.visit_file(&file);
        let from = path.join("::");
        for used in uses.paths {
            let target = (1..=used.len()).rev().map(|n| used[..n].join("::")).find(|m| known.contains(m));
            found.extend(target.filter(|to| *to != from).map(|to| (from.clone(), to)));
        }
    }
    Ok(found)
}

/// The texts of the files below `directory`, by the paths of their modules.
fn read(directory: &Path, at: &[String], files: &mut BTreeMap<Vec<String>, String>) -> Result<(), String> {
    let wrong = |e| format!("cannot read {}: {e}", directory.display());
    for entry in fs::read_dir(directory).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        let mut module = at.to_vec();
        if path.is_dir() {
            module.push(name.to_string());
            read(&path, &module, files)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            if name != "mod" && name != "lib" {
                module.push(name.to_string());
            }
            files.insert(module, fs::read_to_string(&path).map_err(wrong)?);
        }
    }
    Ok(())
}

/// The paths of the crate that a file uses.
struct Uses<'a> {
    of: &'a [String],
    paths: Vec<Vec<String>>,
}

impl Uses<'_> {
    /// Notes a path, if it leads into the crate.
    fn note(&mut self, path: &[String]) {
        let [first, rest @ ..] = path else { return };
        let base = match first.as_str() {
            "crate" => &self.of[..1],
            "self" => self.of,
            "super" => &self.of[..self.of.len().saturating_sub(1)],
            // Of a crate that is none of the kernel's there is no module.
            name => match name.strip_prefix(PREFIX) {
                Some(name) => &[name.to_string()][..],
                None => return,
            },
        };
        let ups = rest.iter().take_while(|word| *word == "super").count();
        let base = &base[..base.len().saturating_sub(ups)];
        self.paths.push(base.iter().chain(&rest[ups..]).cloned().collect());
    }

    fn walk(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                self.walk(&inner.tree, path);
                path.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.walk(item, path)),
            UseTree::Name(name) => self.note_in(path, &name.ident),
            UseTree::Rename(renamed) => self.note_in(path, &renamed.ident),
            UseTree::Glob(_) => self.note(path),
        }
    }

    /// Notes what is named `last` in `path`.
    fn note_in(&mut self, path: &mut Vec<String>, last: &Ident) {
        path.push(last.to_string());
        self.note(path);
        path.pop();
    }
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.walk(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if words.len() > 1 {
            self.note(&words);
        }
        syn::visit::visit_path(self, path);
    }
}

/// What is wrong: modules in no layer, new arrows upwards, and known ones that are gone. `Ok`: how many there are that run
/// upwards, of how many.
///
/// # Errors
/// What is wrong, a line each.
pub fn check(layers: &Layers, arrows: &BTreeSet<Arrow>) -> Result<(usize, usize), String> {
    let mut wrong = String::new();
    let modules: BTreeSet<&str> = arrows.iter().flat_map(|(from, to)| [from.as_str(), to.as_str()]).collect();
    for module in modules.into_iter().filter(|module| layers.of(module).is_none()) {
        let _ = writeln!(wrong, "{module} is in no layer");
    }
    let upward: BTreeSet<&Arrow> =
        arrows.iter().filter(|(from, to)| layers.of(from) < layers.of(to)).collect();
    for (from, to) in upward.iter().filter(|arrow| !layers.upward.contains(**arrow)) {
        let _ = writeln!(wrong, "{from} uses {to}, which is in a higher layer");
    }
    for (from, to) in layers.upward.iter().filter(|arrow| !upward.contains(arrow)) {
        let _ = writeln!(wrong, "{from} no longer uses {to}: take the line off the list");
    }
    if wrong.is_empty() { Ok((upward.len(), arrows.len())) } else { Err(wrong) }
}

/// Sizes of the picture, in pixels.
const WIDTH: usize = 760;
const ROW: usize = 64;
const BOX: (usize, usize) = (260, 40);
const LEFT: usize = (WIDTH - BOX.0) / 2;
/// Between two arrows that end at the same box.
const STEP: usize = 26;

/// The page of the book: a picture of the layers with the arrows between them, and the arrows that run upwards.
pub fn to_svg(layers: &Layers, arrows: &BTreeSet<Arrow>) -> String {
    let count = layers.layers.len();
    let mut between = BTreeSet::new();
    for (from, to) in arrows {
        if let (Some(from), Some(to)) = (layers.of(from), layers.of(to))
            && from != to
        {
            between.insert((from, to));
        }
    }
    let middle = |layer: usize| (count - 1 - layer) * ROW + ROW / 2;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerUnits=\"userSpaceOnUse\" markerWidth=\"9\" markerHeight=\"9\" orient=\"auto\">\
         <path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n",
        count * ROW
    );
    for (from, to) in between {
        // Downwards on the left, upwards on the right.
        let (edge, side, colour) = if from > to { (LEFT, -1, "#888") } else { (LEFT + BOX.0, 1, "#c22") };
        let bow = edge as i64 + side * (STEP * from.abs_diff(to)) as i64;
        let (a, b) = (middle(from), middle(to));
        let _ = writeln!(
            picture,
            "<path d=\"M{edge} {a}C{bow} {a} {bow} {b} {edge} {b}\" fill=\"none\" stroke=\"{colour}\" marker-end=\"url(#tip)\"/>"
        );
    }
    for (number, (name, _)) in layers.layers.iter().enumerate() {
        let y = middle(number) - BOX.1 / 2;
        let _ = writeln!(
            picture,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"6\" fill=\"#eef\" stroke=\"#446\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            BOX.0,
            BOX.1,
            WIDTH / 2,
            middle(number) + 5
        );
    }
    picture.push_str("</svg>\n");
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: &str, to: &str) -> Arrow {
        (from.to_string(), to.to_string())
    }

    #[test]
    fn the_longest_module_says_the_layer() {
        let layers = Layers::parse("layer low: a\nlayer high: c a::b").unwrap();
        assert_eq!(
            ["a", "a::x", "a::b", "a::b::y", "c", "ab"].map(|m| layers.of(m)),
            [Some(0), Some(0), Some(1), Some(1), Some(1), None]
        );
        assert!(Layers::parse("layer low").is_err());
        assert!(Layers::parse("upward a").is_err());
    }

    #[test]
    fn arrows_upwards_are_listed_exactly() {
        let text = "layer low: a\nlayer high: b\n";
        let down = BTreeSet::from([arrow("b", "a")]);
        assert_eq!(check(&Layers::parse(text).unwrap(), &down), Ok((0, 1)));
        let both = BTreeSet::from([arrow("b", "a"), arrow("a", "b")]);
        let new = check(&Layers::parse(text).unwrap(), &both).unwrap_err();
        assert_eq!(new, "a uses b, which is in a higher layer\n");
        let known = Layers::parse(&format!("{text}upward a -> b")).unwrap();
        assert_eq!(check(&known, &both), Ok((1, 2)));
        assert_eq!(check(&known, &down).unwrap_err(), "a no longer uses b: take the line off the list\n");
        let stray = BTreeSet::from([arrow("x", "a")]);
        assert!(check(&known, &stray).unwrap_err().starts_with("x is in no layer\n"));
    }

    #[test]
    fn uses_are_found_in_trees_and_paths() {
        let of = ["core", "fs", "file"].map(str::to_string);
        let mut uses = Uses { of: &of, paths: Vec::new() };
        let text = "use crate::{a::b::{C, d}, e as f}; use super::g; use core::h; use coracle_net::tcp;
            fn f() -> crate::i::J { super::super::k::l(self::m::N, o) }";
        uses.visit_file(&syn::parse_file(text).unwrap());
        let found: Vec<String> = uses.paths.iter().map(|path| path.join("::")).collect();
        assert_eq!(
            found,
            [
                "core::a::b::C",
                "core::a::b::d",
                "core::e",
                "core::fs::g",
                "net::tcp",
                "core::i::J",
                "core::k::l",
                "core::fs::file::m::N"
            ]
        );
    }
}
