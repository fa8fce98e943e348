import Testing

@testable import Wire

/// The document as nested `(name children-or-text)` text.
private func outline(_ document: String) throws -> String {
    var xml = try XMLReader(Array(document.utf8))
    let name = xml.localName
    var children = ""
    while try xml.nextChild() { children += " " + xml.localName + "=" + (try xml.string()) }
    try xml.finish()
    return name + children
}

@Suite("reading XML")
struct XMLReaderTests {
    @Test("elements, prefixes, attributes, comments, CDATA and entities are understood")
    func wellFormed() throws {
        let document = """
            \u{FEFF}<?xml version="1.0" encoding="UTF-8"?>
            <!-- a > b -- c -->
            <s3:List xmlns:s3="http://x/" empty='' note="a > b">
              <s3:Key>a&amp;b&lt;&gt;&quot;&apos;&#65;&#x4e2d;</s3:Key>
              <Raw><![CDATA[<not> & markup]]]></Raw><Split>one<!-- two -->three<?four?></Split>
              <Nothing/><Blank ></Blank >
            </s3:List>
            <?end?>

            """
        #expect(
            try outline(document) == "List Key=a&b<>\"'A中 Raw=<not> & markup] Split=onethree Nothing= Blank="
        )
    }

    @Test(
        "what is not well-formed is refused",
        arguments: [
            "", "text", "<a>", "<a><b></a></b>", "<a></b>", "<a></a><b/>", "<a></a>x", "<a>&unknown;</a>",
            "<a>&#0;</a>",
            "<a>&#xD800;</a>", "<a>&#x110000;</a>", "<a>&#+65;</a>", "<a>&amp</a>", "<a b></a>", "<a b=c/>",
            "<a b='<'/>",
            "<a b='1'c='2'/>", "<a b='1/>", "< a/>", "<1/>", "<a", "<a/", "<a><![CDATA[x]]</a>",
            "<a><!-- x</a>", "<a><?x</a>",
            "<!DOCTYPE a []><a/>", "<a><!ENTITY x 'y'></a>", "<a>\u{1}</a>", "</a>", "<a/ >", "<x:a></a>",
        ]
    )
    func malformed(_ document: String) {
        #expect(throws: XMLError.self) { try outline(document) }
    }

    @Test("every proper beginning of a document is refused")
    func truncated() throws {
        let document = Array(#"<a x="1"><b>t&amp;</b><!--c--><d/><![CDATA[e]]></a>"#.utf8)
        for length in document.indices {
            #expect(throws: XMLError.self) {
                var xml = try XMLReader(Array(document[..<length]))
                while try xml.nextChild() { try xml.skip() }
                try xml.finish()
            }
        }
    }

    @Test("nesting is bounded")
    func deep() throws {
        func nested(_ depth: Int) -> [UInt8] {
            Array((String(repeating: "<a>", count: depth) + String(repeating: "</a>", count: depth)).utf8)
        }
        var fits = try XMLReader(nested(64))
        try fits.skip()
        try fits.finish()
        var tooDeep = try XMLReader(nested(65))
        #expect(throws: XMLError.self) { try tooDeep.skip() }
    }

    @Test("an element where text belongs is malformed")
    func elementInText() throws {
        var xml = try XMLReader(Array("<a><b>x<c/></b></a>".utf8))
        #expect(try xml.nextChild())
        #expect(throws: XMLError.self) { try xml.text() }
    }

    @Test("text keeps bytes that are not UTF-8; as a string it is refused")
    func bytes() throws {
        let document = Array("<a>".utf8) + [0xFF] + Array("</a>".utf8)
        var xml = try XMLReader(document)
        #expect(try xml.text() == [0xFF])
        var again = try XMLReader(document)
        #expect(throws: XMLError.self) { try again.string() }
    }

    @Test("a skipped element leaves the reader at its sibling")
    func skipping() throws {
        var xml = try XMLReader(Array("<a><b><c>1</c><d/></b><e>2</e></a>".utf8))
        #expect(try xml.nextChild())
        try xml.skip()
        #expect(try xml.nextChild())
        #expect(xml.isNamed("e"))
        #expect(!xml.isNamed("b"))
        #expect(try xml.string() == "2")
        #expect(try !xml.nextChild())
        try xml.finish()
    }
}

@Suite("writing XML")
struct XMLWriterTests {
    @Test("what is written is read back, markup and controls included")
    func roundTrip() throws {
        let text = "a<b>&\"'\r\n\t\u{1}中"
        var writer = XMLWriter()
        writer.element("Root", namespace: "http://x/?a&b") { root in
            root.element("Key", text)
            root.element("Count", 3)
            root.element("Fact", true)
        }
        #expect(
            try outline(String(decoding: writer.bytes, as: UTF8.self)) == "Root Key=\(text) Count=3 Fact=true"
        )
    }

    @Test("a restore request has the published bytes")
    func restoreRequest() {
        var writer = XMLWriter(declaration: false)
        writer.element("RestoreRequest") { $0.element("Days", 2) }
        #expect(writer.bytes == Array("<RestoreRequest><Days>2</Days></RestoreRequest>".utf8))
    }
}
