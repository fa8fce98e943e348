internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore

/// Versions as files. Every directory has a `.versions` that lookup finds and `readdir` does not show:
///
///     DIR/.versions/NAME/VERSION_ID   a version of the object DIR/NAME
///     DIR/.versions/SUB/…             the same below DIR/SUB, whether or not that still has objects
///
/// Nothing of it is kept in the metadata store. Listings are read page by page as they are asked for, a lookup asks
/// for one name, and what is learned of a version stays with its inode.
extension Filesystem {
    /// Where the rows of a directory of versions come from.
    func versionRows(of directory: Directory) -> VersionRows {
        VersionRows(of: directory, store: store) { [self] error in
            report("listing of versions", directory.prefix, error)
            return FileError(error)
        }
    }

    /// The version of this name, or nil when there is none.
    func findVersion(_ name: [UInt8], in directory: Directory) async throws(FileError) -> Found? {
        switch Names.query(name, mayHaveSlash: true) {
        case nil, .shadowed: return nil
        case .hashed(let leading, _): return try await findHashed(name, leading, false, in: directory)
        case .segment(let segment):
            if let row = directory.seenVersions.withLock({ $0?.rows[segment] }), isFresh(row.checkedAt) {
                return Found(row: row, isShadowed: false)
            }
            let now = Timestamp.now()
            do throws(StoreError) {
                let record = try await store.head(directory.prefix, version: directory.version(of: segment))
                let row = MetadataRow(segment: segment, kind: .object(record), checkedAt: now)
                return Found(row: row, isShadowed: false)
            } catch {
                // A store refuses the id of a delete marker (405), and what cannot be an id at all (400).
                if error.kind == .noSuchKey || error.kind == .invalidRequest { return nil }
                report("lookup of version \(String(decoding: segment, as: UTF8.self))", directory.prefix, error)
                throw FileError(error)
            }
        }
    }

    /// What there is, in whatever versions, of an object and of a directory of this name. The segments are the two.
    func versionedRows(_ segments: [[UInt8]], in directory: Directory) async throws(FileError) -> [MetadataRow] {
        guard let segment = segments.min(by: { $0.count < $1.count }) else { return [] }
        let key = directory.key(of: segment)
        let below = key + [UInt8(ascii: "/")]
        let seen = directory.seenVersions.withLock { seen in
            seen.map { seen in below <= seen.through ? segments.compactMap { seen.rows[$0] } : [] } ?? []
        }
        // A name that was not there may have come since.
        if !seen.isEmpty, seen.allSatisfy({ isFresh($0.checkedAt) }) { return seen }
        let now = Timestamp.now()
        var rows: [MetadataRow] = []
        do throws(StoreError) {
            var pages = VersionListing(store, VersionListRequest(prefix: key, versionsMax: 100))
            var isSettled = false
            while let page = try await pages.next() {
                if let record = page.versions.lazy.filter({ $0.key == key }).compactMap(directory.shown).first {
                    rows.append(MetadataRow(segment: segment, kind: .object(record), checkedAt: now))
                }
                if page.prefixes.contains(below) {
                    let name = segment + [UInt8(ascii: "/")]
                    rows.append(MetadataRow(segment: name, kind: .directory(nil), checkedAt: now))
                }
                let end = [page.versions.last?.key, page.prefixes.last].compactMap { $0 }.max()
                isSettled = page.next == nil || end.map { $0 >= below } ?? false
                // Delete markers alone say nothing of older versions.
                if isSettled || !rows.isEmpty || end.map({ $0 != key }) ?? false { break }
            }
            // Many names lie between `name` and `name/`, or many versions of `name`.
            if !isSettled {
                var pages = VersionListing(store, VersionListRequest(prefix: below, delimiter: nil, versionsMax: 1))
                var first: ListedVersion?
                while first == nil, let page = try await pages.next() { first = page.versions.first }
                if first != nil {
                    let name = segment + [UInt8(ascii: "/")]
                    rows.append(MetadataRow(segment: name, kind: .directory(nil), checkedAt: now))
                }
            }
        } catch {
            report("lookup of versions", key, error)
            throw FileError(error)
        }
        return rows
    }

    /// Numbers that the inode of an object's version may have: `.versions` can be entered in any directory on the way.
    func versionInodes(_ key: ObjectKey, _ version: String) -> [UInt64] {
        var directories: [ArraySlice<UInt8>] = []
        var name = key.bytes[root.prefix.bytes.count...]
        while let cut = name.firstIndex(of: UInt8(ascii: "/")) {
            directories.append(name[...cut])
            name = name[(cut + 1)...]
        }
        var parent = root.inode
        var numbers: [UInt64] = []
        for depth in 0...directories.count {
            var number = InodeNumber.of(Names.versionsSegment, parent: parent)
            for directory in directories[depth...] { number = InodeNumber.of(directory, parent: number) }
            number = InodeNumber.of(name, parent: number)
            numbers.append(InodeNumber.of(version.utf8, parent: number))
            if depth < directories.count { parent = InodeNumber.of(directories[depth], parent: parent) }
        }
        return numbers
    }
}

extension Directory {
    /// What a listed version is shown with; nil for a delete marker, and for the empty marker of the directory itself.
    fileprivate func shown(_ version: ListedVersion) -> ObjectRecord? {
        guard let record = version.record, version.key != prefix || record.sizeBytes > 0 || view == .objectVersions
        else { return nil }
        return record
    }
}

/// Rows of a directory of versions, page by page from the store.
struct VersionRows: EntrySource {
    private let directory: Directory
    private var pages: VersionListing
    private let fail: @Sendable (StoreError) -> FileError
    /// The object that had its row; its other versions may fill pages.
    private var last: ObjectKey?
    private var isFirst = true
    private var isAtEnd = false

    init(of directory: Directory, store: any ObjectStore, fail: @escaping @Sendable (StoreError) -> FileError) {
        self.directory = directory
        self.fail = fail
        pages = VersionListing(store, VersionListRequest(prefix: directory.prefix))
    }

    mutating func next() async throws(FileError) -> [MetadataRow]? {
        if isAtEnd { return nil }
        let asked = Timestamp.now()
        do throws(StoreError) {
            guard let page = try await pages.next() else { return nil }
            let rows = directory.view == .objectVersions ? versions(page, asked) : names(page, asked)
            if isFirst { remember(rows, through: [page.versions.last?.key, page.prefixes.last]) }
            isFirst = false
            return rows
        } catch {
            throw fail(error)
        }
    }

    private func remember(_ rows: [MetadataRow], through ends: [ObjectKey?]) {
        let rows = Dictionary(rows.map { ($0.segment, $0) }, uniquingKeysWith: { first, _ in first })
        let seen = ends.compactMap { $0 }.max().map { Directory.SeenVersions(rows: rows, through: $0) }
        directory.seenVersions.withLock { $0 = seen }
    }

    /// The object's versions come before whatever else begins like its key.
    private mutating func versions(_ page: VersionPage, _ asked: Timestamp) -> [MetadataRow] {
        let own = page.versions.prefix { $0.key == directory.prefix }
        isAtEnd = own.count < page.versions.count || !page.prefixes.isEmpty
        return own.compactMap { version in
            directory.shown(version).map {
                MetadataRow(segment: Array(version.versionID.utf8), kind: .object($0), checkedAt: asked)
            }
        }
    }

    /// One row for each object with versions and for each prefix, in listing order.
    private mutating func names(_ page: VersionPage, _ asked: Timestamp) -> [MetadataRow] {
        var rows: [MetadataRow] = []
        func add(_ key: ObjectKey, _ kind: MetadataRow.Kind) {
            let segment = Array(key.bytes[directory.prefix.bytes.count...])
            rows.append(MetadataRow(segment: segment, kind: kind, checkedAt: asked))
        }
        var prefixes = page.prefixes[...]
        for version in page.versions where version.key != last {
            guard let record = directory.shown(version) else { continue }
            while let next = prefixes.first, next < version.key { add(prefixes.removeFirst(), .directory(nil)) }
            add(version.key, .object(record))
            last = version.key
        }
        for rest in prefixes { add(rest, .directory(nil)) }
        return rows
    }
}
