import HTTP
import ThawCore
import Wire

extension ObjectHeaders {
    /// What a store keeps besides user metadata and gives back as it was.
    private static let standardNames: Set<String> = [
        "content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires",
    ]

    init(_ head: HTTPResponseHead, _ dialect: any BucketDialect) {
        self.init()
        let prefix = dialect.headerPrefix + "meta-"
        for (name, value) in head.headers {
            if name.hasPrefix(prefix) {
                metadata[String(name.dropFirst(prefix.utf8.count))] = value
            } else if Self.standardNames.contains(name) {
                standard[name] = value
            }
        }
    }

    /// The headers of a request that stores an object. One without a type is of no type in particular: left out, a
    /// store would put its own guess in its place.
    func wire(_ dialect: any BucketDialect) throws(StoreError) -> [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = []
        for (name, value) in standard.sorted(by: { $0.key < $1.key }) {
            guard Self.standardNames.contains(name) else { throw Self.unsendable(name, "is no header of an object") }
            try Self.check(name, value)
            headers.append((name, value))
        }
        if standard["content-type"] == nil { headers.append(("content-type", "application/octet-stream")) }
        for (name, value) in metadata.sorted(by: { $0.key < $1.key }) {
            let isName = !name.isEmpty && name.utf8.allSatisfy(isMetadataNameByte)
            guard isName else { throw Self.unsendable(name, "is no name of user metadata") }
            try Self.check(name, value)
            headers.append((dialect.headerPrefix + "meta-" + name, value))
        }
        return headers
    }

    private static func check(_ name: String, _ value: String) throws(StoreError) {
        guard value.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw unsendable(name, "has a value that no header can carry")
        }
    }

    private static func unsendable(_ name: String, _ words: String) -> StoreError {
        StoreError(.invalidRequest, code: "UnsendableHeader", message: "\(name.printable) \(words)")
    }
}

/// Of HTTP's tokens, without capitals.
private func isMetadataNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
}
