//! The world that a template lives in: one source, one file of data, the embedded fonts, and nothing else.

use std::fmt;
use std::sync::Arc;

use typst::diag::{FileError, FileResult};
use typst::foundations::{Bytes, Datetime, Duration};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt as _, World};

/// What every document has in common.
pub(crate) struct Shared {
    library: LazyHash<Library>,
    book: LazyHash<FontBook>,
    fonts: Vec<Font>,
    main: FileId,
    data: FileId,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("fonts", &self.fonts.len()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Loads the library and the fonts: the house's own first, Typst's for letters that it lacks.
    pub(crate) fn new() -> Self {
        let inter: [&'static [u8]; 3] =
            [include_bytes!("fonts/Inter-Regular.otf"), include_bytes!("fonts/Inter-SemiBold.otf"), include_bytes!("fonts/Inter-Bold.otf")];
        let own = inter.into_iter().flat_map(|data| Font::iter(Bytes::new(data)));
        let fonts: Vec<Font> = own.chain(typst_kit::fonts::embedded().map(|(font, _)| font)).collect();
        let book = FontBook::from_fonts(&fonts);
        Self {
            library: LazyHash::new(Library::default()),
            book: LazyHash::new(book),
            fonts,
            main: file_id("main.typ"),
            data: file_id("report.json"),
        }
    }

    /// Tells whether some embedded font can draw a letter.
    pub(crate) fn can_draw(&self, letter: char) -> bool {
        self.fonts.iter().any(|font| font.info().coverage.contains(u32::from(letter)))
    }

    /// Tells whether the house's own font can draw a letter.
    pub(crate) fn can_draw_plainly(&self, letter: char) -> bool {
        self.fonts.first().is_some_and(|font| font.info().coverage.contains(u32::from(letter)))
    }
}

fn file_id(name: &str) -> FileId {
    #[expect(clippy::expect_used, reason = "a plain file name is always a path")]
    let path = VirtualPath::new(name).expect("a plain file name");
    FileId::new(RootedPath::new(VirtualRoot::Project, path))
}

/// One document's world.
pub(crate) struct TemplateWorld {
    shared: Arc<Shared>,
    source: Source,
    data: Bytes,
}

impl TemplateWorld {
    pub(crate) fn new(shared: Arc<Shared>, template: &str, data: Vec<u8>) -> Self {
        let source = Source::new(shared.main, template.to_owned());
        Self { shared, source, data: Bytes::new(data) }
    }
}

impl World for TemplateWorld {
    fn library(&self) -> &LazyHash<Library> {
        &self.shared.library
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &self.shared.book
    }

    fn main(&self) -> FileId {
        self.shared.main
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        if id == self.shared.main { Ok(self.source.clone()) } else { Err(FileError::AccessDenied) }
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        if id == self.shared.data { Ok(self.data.clone()) } else { Err(FileError::AccessDenied) }
    }

    fn font(&self, index: usize) -> Option<Font> {
        self.shared.fonts.get(index).cloned()
    }

    /// There is no today: a document's date is its report's.
    fn today(&self, _offset: Option<Duration>) -> Option<Datetime> {
        None
    }
}
