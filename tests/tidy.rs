//! The floors hold: a file imports only from floors below it and from its own folder (the table in `src/lib.rs`). And a few
//! things that are easy to leave behind are not there.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

const WORDS: &[&str] = &["secret", "name", "moment", "fault"];
const RULES: &[&str] = &["password", "schedule", "rotation", "sign"];
const JOINTS: &[&str] = &["provider", "probe", "sink", "hook", "consumer", "alert", "ledger", "seal"];
const TOOLS: &[&str] = &[
    "clock",
    "chance",
    "meter",
    "alarm",
    "http",
    "crowd",
    "kubernetes",
    "pacer",
    "process",
    "memory",
    "systemd",
    "resp",
];
const EDGES: &[&str] = &["config", "admin", "telemetry", "discovery", "watch", "console"];
const FACES: &[&str] = &["cli", "lib", "main"];

/// The stand-in cloud stands beside the floors: it knows the words and nothing else, so that its signature verifier is its own.
const SIMULATOR: u32 = 1;
/// The driver has never heard of a vendor, a database or HTTP.
const DRIVER: u32 = 4;

/// No file is longer than this, in lines. Beyond it, a reader no longer sees the whole.
const LONGEST_FILE: usize = 520;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The floor of a module path such as `["provider", "tencent", "wire"]`.
fn floor(path: &[String]) -> u32 {
    let first = path[0].as_str();
    let is_hand = |second: &String| {
        let base = source().join(first).join(second);
        base.is_dir() || base.with_extension("rs").is_file()
    };
    match first {
        _ if WORDS.contains(&first) => 0,
        _ if RULES.contains(&first) => 1,
        _ if JOINTS.contains(&first) && path.get(1).is_some_and(is_hand) => 3,
        _ if JOINTS.contains(&first) || TOOLS.contains(&first) => 2,
        "driver" | "follow" => DRIVER,
        _ if EDGES.contains(&first) => 5,
        "assemble" => 6,
        "simulator" => 6,
        _ if FACES.contains(&first) => 7,
        unknown => panic!("src/{unknown} has no floor: give it one in the table of src/lib.rs and in tests/tidy.rs"),
    }
}

fn is_for_tests(module: &syn::ItemMod) -> bool {
    let says = |attribute: &syn::Attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
    };
    module.attrs.iter().any(says)
}

/// Paths that begin with `crate`, outside of test modules.
#[derive(Default)]
struct Imports(BTreeSet<Vec<String>>);

impl Imports {
    fn tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.add(with(&name.ident)),
            syn::UseTree::Rename(rename) => self.add(with(&rename.ident)),
            syn::UseTree::Glob(_) => self.add(prefix.to_vec()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(prefix, item)),
        }
    }

    fn add(&mut self, path: Vec<String>) {
        if path.first().is_some_and(|root| root == "crate") && path.len() > 1 {
            self.0.insert(path[1..].to_vec());
        }
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(module) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        self.tree(&[], &import.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }
}

#[test]
fn files_import_only_from_floors_below_and_from_their_own_folder() {
    let mut all = Vec::new();
    files(&source(), &mut all);
    let mut wrong = Vec::new();
    for file in &all {
        let relative = file.strip_prefix(source()).unwrap().with_extension("");
        let mut module: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        let own = module[0].clone();
        let here = if own == "simulator" { SIMULATOR } else { floor(&module) };
        let mut imports = Imports::default();
        imports.visit_file(&syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap());
        for path in imports.0.iter().filter(|path| path[0] != own && own != "lib" && own != "main") {
            let there = floor(path);
            let reaches_hands = here == DRIVER && there == 3;
            // Words and tools are single files in one folder, `src/`: they may use each other.
            let neighbours =
                [WORDS, TOOLS].iter().any(|floor| floor.contains(&own.as_str()) && floor.contains(&path[0].as_str()));
            if (there >= here && !neighbours) || reaches_hands {
                wrong.push(format!(
                    "{} (floor {here}) imports crate::{} (floor {there})",
                    relative.display(),
                    path.join("::")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the floors:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_none_is_a_drawer() {
    let mut all = Vec::new();
    files(&source(), &mut all);
    for file in &all {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.starts_with("//!"), "{} does not begin by saying what it is", file.display());
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines: split it so that the story is clearer", file.display());
        let stem = file.file_stem().unwrap().to_string_lossy();
        for drawer in ["util", "utils", "helper", "helpers", "common", "misc"] {
            assert_ne!(stem, drawer, "{} is a drawer", file.display());
        }
        for left in ["todo!(", "unimplemented!(", "FIXME", "XXX", "dbg!("] {
            assert!(!text.contains(left), "{} still holds {left}", file.display());
        }
    }
}

/// Where the text of a secret would be written: into a panic, the log, a fault or the program's own output.
#[derive(Default)]
struct Written {
    /// How deep we are in something that is written.
    depth: u32,
    found: u32,
}

impl Written {
    fn inside(&mut self, visit: impl FnOnce(&mut Self)) {
        self.depth += 1;
        visit(self);
        self.depth -= 1;
    }
}

impl<'ast> Visit<'ast> for Written {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(module) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_macro(&mut self, made: &'ast syn::Macro) {
        const WRITES: [&str; 20] = [
            "panic",
            "unreachable",
            "assert",
            "assert_eq",
            "assert_ne",
            "debug_assert",
            "debug_assert_eq",
            "trace",
            "debug",
            "info",
            "warn",
            "error",
            "event",
            "span",
            "error_span",
            "println",
            "eprintln",
            "anyhow",
            "bail",
            "dbg",
        ];
        let name = made.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        let writes = self.depth > 0 || WRITES.contains(&name.as_str());
        self.found += u32::from(writes && made.tokens.to_string().contains("expose ("));
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let syn::Expr::Path(path) = &*call.func else { return syn::visit::visit_expr_call(self, call) };
        let names: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.ends_with(&["Fault".to_owned(), "new".to_owned()]) {
            self.inside(|within| syn::visit::visit_expr_call(within, call));
        } else {
            syn::visit::visit_expr_call(self, call);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.found += u32::from(self.depth > 0 && call.method == "expose");
        self.visit_expr(&call.receiver);
        let panics = ["expect", "expect_err", "advise"].iter().any(|name| call.method == name);
        let arguments = |within: &mut Self| call.args.iter().for_each(|argument| within.visit_expr(argument));
        if panics { self.inside(arguments) } else { arguments(self) }
    }
}

#[test]
fn no_secret_is_written_into_a_panic_the_log_or_a_fault() {
    let seen = |text: &str| {
        let mut written = Written::default();
        written.visit_file(&syn::parse_file(text).unwrap());
        written.found
    };
    for bad in [
        "panic!(\"{}\", key.expose())",
        "Fault::new(Bad, format!(\"{}\", key.expose()))",
        "x.expect(key.expose())",
        "tracing::info!(key = key.expose())",
    ] {
        assert_eq!(seen(&format!("fn f() {{ {bad}; }}")), 1, "{bad} is not noticed");
    }
    let mut all = Vec::new();
    files(&source(), &mut all);
    for file in &all {
        assert_eq!(
            seen(&fs::read_to_string(file).unwrap()),
            0,
            "{} writes a secret's text where people read",
            file.display()
        );
    }
}

#[test]
fn the_runbook_has_each_fault_with_its_next_step() {
    let fault = syn::parse_file(&fs::read_to_string(source().join("fault.rs")).unwrap()).unwrap();
    let runbook = fs::read_to_string(source().with_file_name("docs").join("RUNBOOK.md")).unwrap();
    let kinds = fault.items.iter().find_map(|item| {
        let syn::Item::Enum(kinds) = item else { return None };
        (kinds.ident == "Kind").then_some(&kinds.variants)
    });
    for variant in kinds.expect("the kinds") {
        let kebab: String = variant.ident.to_string().chars().fold(String::new(), |mut name, letter| {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
            name
        });
        let kind: keywheel::fault::Kind = serde_json::from_value(kebab.clone().into()).unwrap();
        let section = format!("#### `{kebab}`\n\n> {}\n\n", kind.next_step());
        assert!(runbook.contains(&section), "docs/RUNBOOK.md lacks this:\n{section}");
    }
}
