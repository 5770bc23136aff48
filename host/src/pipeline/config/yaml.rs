//! The file as a tree of values that know where they stand.
//!
//! YAML 1.2 as its core schema reads it. What PyYAML has beside that and files
//! of TigerFlow use is there too: aliases, and merge keys (`<<`). What a plain
//! text means (a number, `true`) is decided by who asks for it, so that a text
//! like `02:00:00` or `1.50` stays as it was written.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::hints;
use super::path::{Path, Position, Step};
use super::problem::{Problem, Problems};

/// Most values in a file, with those that aliases repeat: a few lines of aliases
/// of aliases make billions.
const MOST_NODES: usize = 20_000;

/// How deep values may lie in one another.
const DEEPEST: usize = 64;

/// It is not repeated: it may be the value of a variable that should be in quotes.
const UNKNOWN_TAG: &str =
    "a tag (`!…`) means nothing here; a text that begins with `!` needs quotes";

/// A value and where it stands.
#[derive(Clone)]
pub struct Node {
    /// Where it begins.
    pub position: Position,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone)]
pub enum Value {
    /// A text, as it is once quotes and escapes are taken away.
    Scalar {
        /// The text.
        text: String,
        /// Whether it stands without quotes, so that it may be a number, `true`,
        /// or nothing.
        plain: bool,
    },
    /// `- item` lines, or `[a, b]`.
    List(Vec<Node>),
    /// `key: value` lines, or `{a: b}`, in the file's order.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub position: Position,
    /// Its value.
    pub value: Node,
}

/// Where a value stands, and its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its key, or what is as good: the value itself for an item of a list.
    pub key: Position,
    /// Where the value begins.
    pub value: Position,
}

/// What a plain text is by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plain {
    /// Nothing: no text at all, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// What YAML 1.1, and so PyYAML, takes for true or false: `yes`, `off`.
    OldBool(bool),
    /// A whole number or one with a fraction.
    Number,
    /// Anything else.
    Text,
}

/// What a text without quotes is by itself.
pub fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        "true" | "True" | "TRUE" => Plain::Bool(true),
        "false" | "False" | "FALSE" => Plain::Bool(false),
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Plain::OldBool(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Plain::OldBool(false),
        _ => {
            let digits = text.bytes().any(|b| b.is_ascii_digit());
            let number = text.bytes().all(|b| b.is_ascii_digit() || b"+-._eE".contains(&b));
            match digits && number && text.replace('_', "").parse::<f64>().is_ok() {
                true => Plain::Number,
                false => Plain::Text,
            }
        }
    }
}

impl Node {
    /// The entry of a key, where this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value of a key, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The items, where this is a list.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Whether nothing is written here.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if plain(text) == Plain::Null)
    }

    /// Where the value of a path stands, and how many of its steps lead there: for
    /// one that is not there, the last before it that is.
    pub fn find(&self, path: &Path) -> (Place, usize) {
        let (mut node, mut key) = (self, self.position);
        for (taken, step) in path.steps().iter().enumerate() {
            let next = match step {
                Step::Key(key) => node.entry(key).map(|entry| (&entry.value, entry.position)),
                Step::Index(index) => node.items().get(*index).map(|item| (item, item.position)),
            };
            match next {
                Some(next) => (node, key) = next,
                None => return (Place { key, value: node.position }, taken),
            }
        }
        (Place { key, value: node.position }, path.steps().len())
    }

    /// How many values these are, and how deep they lie in one another.
    fn measure(&self) -> (usize, usize) {
        let add = |(size, depth): (usize, usize), child: &Node| {
            let (more, below) = child.measure();
            (size + more, depth.max(below + 1))
        };
        match &self.value {
            Value::Scalar { .. } => (1, 0),
            Value::List(items) => items.iter().fold((1, 1), add),
            Value::Map(entries) => entries.iter().map(|e| &e.value).fold((1, 1), add),
        }
    }
}

/// Reads a file. What is merely given twice is a problem that reading goes on
/// after, and the first one holds; so the tree is there beside it.
pub fn read(text: &str, problems: &mut Problems) -> Option<Node> {
    // A mark that some editors put first.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { problems, frames: Vec::new(), anchors: HashMap::new(), nodes: 0 };
    match reader.read(text) {
        Ok(root) => Some(root),
        Err(problem) => {
            reader.problems.push(*problem);
            None
        }
    }
}

/// What stops the reading. Boxed, as it is rare and large.
type Stop = Box<Problem>;

fn stop(position: Position, message: impl Into<String>) -> Stop {
    Box::new(Problem::new(position, &Path::root(), message))
}

struct Reader<'p> {
    problems: &'p mut Problems,
    /// The lists and mappings that are open.
    frames: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

struct Frame {
    position: Position,
    /// 0 for none.
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map(Map),
}

#[derive(Default)]
struct Map {
    entries: Vec<Entry>,
    /// Where each key is in them.
    places: HashMap<String, usize>,
    /// What `<<` brings.
    merged: Vec<Node>,
    /// The key whose value comes next.
    key: Option<Key>,
}

struct Key {
    text: String,
    position: Position,
    merge: bool,
}

impl Reader<'_> {
    fn read(&mut self, text: &str) -> Result<Node, Stop> {
        let mut root = None;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| {
                let (position, message) =
                    hints::syntax(text, position(error.marker()), error.info());
                stop(position, message)
            })?;
            let position = position(&span.start);
            let node = match event {
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(stop(
                        position,
                        "a second document begins here (`---`): a file holds one pipeline",
                    ));
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let plain = is_plain(style, tag.as_deref())
                        .ok_or_else(|| stop(position, UNKNOWN_TAG))?;
                    let value = Value::Scalar { text: text.into_owned(), plain };
                    self.finish(Node { position, value }, anchor, position)?
                }
                Event::SequenceStart(anchor, tag) => {
                    self.open(position, anchor, tag.as_deref(), Content::List(Vec::new()))?;
                    None
                }
                Event::MappingStart(anchor, tag) => {
                    self.open(position, anchor, tag.as_deref(), Content::Map(Map::default()))?;
                    None
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    // The parser ends what it began.
                    let Some(frame) = self.frames.pop() else { continue };
                    let value = match frame.content {
                        Content::List(items) => Value::List(items),
                        Content::Map(map) => Value::Map(self.merge(map)?),
                    };
                    self.finish(Node { position: frame.position, value }, frame.anchor, position)?
                }
                Event::Alias(anchor) => {
                    let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                        stop(position, "this alias stands in what it repeats: it has no end")
                    })?;
                    let (size, depth) = node.measure();
                    self.count(position, size, depth)?;
                    self.finish(node, 0, position)?
                }
                _ => None,
            };
            root = root.or(node);
        }
        let empty = "the file is empty: a pipeline has `tasks`, a list of at least one";
        root.filter(|root| !root.is_null()).ok_or_else(|| stop(Position::START, empty))
    }

    fn open(
        &mut self,
        position: Position,
        anchor: usize,
        tag: Option<&Tag>,
        content: Content,
    ) -> Result<(), Stop> {
        let usual = match content {
            Content::List(_) => "seq",
            Content::Map(_) => "map",
        };
        if tag.is_some_and(|tag| !(tag.is_yaml_core_schema() && tag.suffix == usual)) {
            return Err(stop(position, UNKNOWN_TAG));
        }
        self.count(position, 1, 0)?;
        self.frames.push(Frame { position, anchor, content });
        Ok(())
    }

    fn count(&mut self, position: Position, size: usize, depth: usize) -> Result<(), Stop> {
        self.nodes += size;
        if self.nodes > MOST_NODES {
            let message =
                format!("over {MOST_NODES} values, with what aliases repeat, are too many");
            return Err(stop(position, message));
        }
        if self.frames.len() + depth >= DEEPEST {
            return Err(stop(position, format!("over {DEEPEST} levels are too deep")));
        }
        Ok(())
    }

    /// Puts a value where it belongs. `at`: where the file mentions it. Gives it
    /// back where it is the whole file.
    fn finish(&mut self, node: Node, anchor: usize, at: Position) -> Result<Option<Node>, Stop> {
        if matches!(node.value, Value::Scalar { .. }) {
            self.count(at, 1, 0)?;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.frames.last_mut() else { return Ok(Some(node)) };
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map(map) => match map.key.take() {
                None => map.key = Some(key(node, at)?),
                Some(key) if key.merge => map.merged.push(node),
                Some(key) => {
                    let mut value = node;
                    // Where nothing is written, the parser tells of the next line.
                    let text =
                        matches!(&value.value, Value::Scalar { text, .. } if !text.is_empty());
                    if value.is_null() && !text {
                        value.position = key.position;
                    }
                    match map.places.get(&key.text) {
                        Some(first) => {
                            let line = map.entries[*first].position.line;
                            let text = hints::quoted(&key.text);
                            let message = format!("{text} is given twice: line {line} has it too");
                            self.problems.add(key.position, &Path::root(), message);
                        }
                        None => {
                            map.places.insert(key.text.clone(), map.entries.len());
                            let Key { text, position, .. } = key;
                            map.entries.push(Entry { key: text, position, value });
                        }
                    }
                }
            },
        }
        Ok(None)
    }

    /// The entries of a mapping, with those that `<<` brings: what stands in it
    /// itself holds, and what is merged first before what is merged later.
    fn merge(&mut self, map: Map) -> Result<Vec<Entry>, Stop> {
        let Map { mut entries, mut places, merged, .. } = map;
        let mut sources = Vec::new();
        for node in merged {
            match node.value {
                Value::List(items) => sources.extend(items),
                _ => sources.push(node),
            }
        }
        for source in sources {
            let position = source.position;
            let Value::Map(more) = source.value else {
                return Err(stop(position, "`<<` merges mappings: write `<<: *NAME` of one"));
            };
            for entry in more {
                if !places.contains_key(&entry.key) {
                    places.insert(entry.key.clone(), entries.len());
                    entries.push(entry);
                }
            }
        }
        Ok(entries)
    }
}

fn key(node: Node, at: Position) -> Result<Key, Stop> {
    match node.value {
        Value::Scalar { text, plain } => {
            Ok(Key { merge: plain && text == "<<", text, position: at })
        }
        _ => Err(stop(at, "a key is a text, and here is a list or a mapping")),
    }
}

/// Whether a scalar may be more than a text; none for a tag that nobody knows.
fn is_plain(style: ScalarStyle, tag: Option<&Tag>) -> Option<bool> {
    match tag {
        None => Some(style == ScalarStyle::Plain),
        Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
            "str" => Some(false),
            "int" | "float" | "bool" | "null" => Some(true),
            _ => None,
        },
        Some(_) => None,
    }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}
