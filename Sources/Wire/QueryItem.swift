/// One parameter of a query, decoded. Values are bytes because a prefix may hold any byte.
package struct QueryItem: Hashable, Sendable {
    package var name: String
    /// Nil for a bare name (`?restore`); empty for `name=`.
    package var value: [UInt8]?

    package init(_ name: String, bytes: [UInt8]?) {
        self.name = name
        self.value = bytes
    }

    package init(_ name: String, _ value: String? = nil) {
        self.init(name, bytes: value.map { Array($0.utf8) })
    }

    /// The value as text; empty for a bare name.
    package var text: String { String(decoding: value ?? [], as: UTF8.self) }
}

extension [QueryItem] {
    /// Parses what follows the `?` of a request target; nil for malformed percent-encoding. `+` stays a plus.
    package init?(wire: some StringProtocol) {
        self = []
        for part in wire.utf8.split(separator: UInt8(ascii: "&")) {
            let pieces = part.split(
                separator: UInt8(ascii: "="),
                maxSplits: 1,
                omittingEmptySubsequences: false
            )
            guard let name = PercentEncoding.decode(pieces[0]) else { return nil }
            var value: [UInt8]?
            if pieces.count > 1 {
                guard let decoded = PercentEncoding.decode(pieces[1]) else { return nil }
                value = decoded
            }
            append(QueryItem(String(decoding: name, as: UTF8.self), bytes: value))
        }
    }

    /// As it goes on the wire, without the `?`.
    package var wire: String {
        map { item in
            let name = PercentEncoding.encode(item.name)
            return item.value.map { name + "=" + PercentEncoding.encode($0) } ?? name
        }.joined(separator: "&")
    }

    /// The first item of this name.
    package subscript(name: String) -> QueryItem? { first { $0.name == name } }
}
