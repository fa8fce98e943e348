/// An element of a small document, read whole.
package struct XMLElement: Equatable, Sendable {
    /// Without a prefix.
    package var name: String
    /// All of its own text, without blanks at the ends.
    package var text = ""
    package var children: [XMLElement] = []

    init(name: String) { self.name = name }

    /// The root of a document.
    package init(document: [UInt8]) throws(XMLError) {
        var xml = try XMLReader(document)
        self = try xml.element()
        try xml.finish()
    }

    /// The first child of this name.
    package subscript(name: String) -> XMLElement? { children.first { $0.name == name } }

    package func all(_ name: String) -> [XMLElement] { children.filter { $0.name == name } }
}

extension String {
    /// Without blanks, tabs and line ends around it.
    var trimmed: String {
        let blanks: Set<Character> = [" ", "\t", "\n", "\r", "\r\n"]
        return String(drop { blanks.contains($0) }.reversed().drop { blanks.contains($0) }.reversed())
    }
}
