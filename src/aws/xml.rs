//! The XML of AWS's Query protocol, as a small tree. Names are without their namespace prefix; attributes are left out.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// How deep elements may lie in each other.
const MAX_DEPTH: usize = 32;

/// An element, its text, and the elements in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a document, whose root it answers.
    ///
    /// # Errors
    /// It is not well-formed, or nested deeper than any answer is. The text quotes nothing of the document.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, String> {
        let broken = |at: u64| format!("no XML at byte {at}");
        let mut reader = Reader::from_reader(document);
        // What is being read: the outermost first.
        let mut open: Vec<Self> = vec![Self::default()];
        loop {
            let event = reader.read_event();
            let at = reader.error_position();
            match event.map_err(|_| broken(at))? {
                Event::Start(start) => {
                    if open.len() > MAX_DEPTH {
                        return Err(format!("elements lie deeper than {MAX_DEPTH}"));
                    }
                    open.push(Self::named(start.local_name().as_ref()));
                }
                Event::Empty(start) => {
                    let element = Self::named(start.local_name().as_ref());
                    if let Some(parent) = open.last_mut() {
                        parent.children.push(element);
                    }
                }
                Event::End(_) => {
                    let Some(done) = open.pop() else {
                        return Err(broken(at));
                    };
                    match open.last_mut() {
                        Some(parent) => parent.children.push(done),
                        None => return Err(broken(at)),
                    }
                }
                Event::Text(text) => {
                    let text = text.decode().map_err(|_| broken(at))?;
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&text);
                    }
                }
                Event::CData(data) => {
                    let text = data.decode().map_err(|_| broken(at))?;
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&text);
                    }
                }
                Event::GeneralRef(reference) => {
                    let number = reference.resolve_char_ref().map_err(|_| broken(at))?;
                    let Some(element) = open.last_mut() else {
                        return Err(broken(at));
                    };
                    if let Some(c) = number {
                        element.text.push(c);
                    } else {
                        let name = reference.decode().map_err(|_| broken(at))?;
                        let text = resolve_predefined_entity(&name).ok_or_else(|| broken(at))?;
                        element.text.push_str(text);
                    }
                }
                Event::Eof => break,
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        match (open.pop(), open.is_empty()) {
            (Some(mut document), true) if document.children.len() == 1 => {
                Ok(document.children.remove(0))
            }
            _ => Err("no whole XML document".to_owned()),
        }
    }

    fn named(name: &[u8]) -> Self {
        Self {
            name: String::from_utf8_lossy(name).into_owned(),
            ..Self::default()
        }
    }

    /// Its text, without that of the elements in it.
    pub(crate) fn text(&self) -> &str {
        self.text.trim()
    }

    /// The first element of that name anywhere in it, itself included, in the order of the document.
    pub(crate) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// The elements of that name directly in it.
    pub(crate) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_a_tree() {
        let root = Element::parse(
            b"<?xml version=\"1.0\"?><a xmlns=\"u\"><!-- c --><l><m>1</m><m>x &lt;&#65;<![CDATA[&]]></m><m/></l><n:t>z</n:t></a>",
        )
        .unwrap();
        let list = root.find("l").unwrap();
        let texts: Vec<_> = list.children("m").map(Element::text).collect();
        assert_eq!(texts, ["1", "x <A&", ""]);
        assert_eq!(root.find("t").unwrap().text(), "z");
        assert!(root.find("nothing").is_none());
    }

    #[test]
    fn what_is_no_document_is_refused_without_quoting_it() {
        let deep = "<a>".repeat(1000) + &"</a>".repeat(1000);
        for text in [
            "",
            "s3cret",
            "<a>s3cret",
            "<a></b>",
            "<a/><b/>",
            "</a>",
            "<a>&s3cret;</a>",
            &deep,
        ] {
            let e = Element::parse(text.as_bytes()).unwrap_err();
            assert!(!e.contains("s3cret"), "{e}");
        }
    }
}
