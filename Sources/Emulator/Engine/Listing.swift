package import ThawCore

/// Where listings read keys from, in byte order.
package protocol KeyCursor {
    associatedtype Entry
    associatedtype Failure: Error
    /// Continues with the first key at (or, not `inclusive`, after) this one.
    mutating func seek(_ key: ObjectKey, inclusive: Bool) throws(Failure)
    /// The next key with what is stored of it; nil after the last.
    mutating func next() throws(Failure) -> (key: ObjectKey, entry: Entry)?
}

/// One page of keys, with those that share a prefix up to the delimiter rolled into one.
package struct Listing<Entry> {
    package var entries: [Entry] = []
    package var prefixes: [ObjectKey] = []
    /// The last key or prefix of this page, after which the next one begins; nil when this is the last page.
    package var next: ObjectKey?

    package init() {}
}

extension Listing: Sendable where Entry: Sendable {}

/// What a listing asks for.
package struct ListingQuery: Sendable {
    package var prefix: ObjectKey
    /// Empty for none.
    package var delimiter: [UInt8]
    /// Keys and prefixes up to this one were seen already; nil at the start.
    package var after: ObjectKey?
    /// Entries and prefixes together; 0 gives an empty page.
    package var max: Int

    package init(prefix: ObjectKey, delimiter: [UInt8], after: ObjectKey?, max: Int) {
        self.prefix = prefix
        self.delimiter = delimiter
        self.after = after
        self.max = max
    }

    /// Reads one page. Costs one seek for a rolled-up prefix however many keys it has.
    package func page<Cursor: KeyCursor>(_ cursor: inout Cursor) throws(Cursor.Failure) -> Listing<
        Cursor.Entry
    > {
        var listing = Listing<Cursor.Entry>()
        guard max > 0 else { return listing }
        try start(&cursor)
        var last: ObjectKey?
        while let (key, entry) = try cursor.next(), key.hasPrefix(prefix) {
            if listing.entries.count + listing.prefixes.count == max {
                listing.next = last
                break
            }
            if let shared = commonPrefix(of: key) {
                listing.prefixes.append(shared)
                last = shared
                guard let beyond = shared.successorOfPrefix else { break }
                try cursor.seek(beyond, inclusive: true)
            } else {
                listing.entries.append(entry)
                last = key
            }
        }
        return listing
    }

    private func start<Cursor: KeyCursor>(_ cursor: inout Cursor) throws(Cursor.Failure) {
        guard let after, after >= prefix else { return try cursor.seek(prefix, inclusive: true) }
        // A page that ended with a rolled-up prefix has dealt with every key below it.
        if let shared = commonPrefix(of: after), shared == after, let beyond = after.successorOfPrefix {
            try cursor.seek(beyond, inclusive: true)
        } else {
            try cursor.seek(after, inclusive: false)
        }
    }

    /// The key up to the first delimiter after the prefix, delimiter included.
    private func commonPrefix(of key: ObjectKey) -> ObjectKey? {
        guard !delimiter.isEmpty, key.hasPrefix(prefix),
            key.bytes.count >= prefix.bytes.count + delimiter.count
        else {
            return nil
        }
        for start in prefix.bytes.count...(key.bytes.count - delimiter.count)
        where key.bytes[start] == delimiter[0]
            && key.bytes[start..<(start + delimiter.count)].elementsEqual(delimiter)
        {
            return ObjectKey(key.bytes[..<(start + delimiter.count)])
        }
        return nil
    }
}
