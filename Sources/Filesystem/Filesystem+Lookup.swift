internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Upload
internal import Wire

extension Filesystem {
    private static let slash = UInt8(ascii: "/")

    // MARK: At hand

    /// What a name is, as far as nothing has to be asked or waited for: an entry whose inode the kernel knows and that
    /// is fresh, or what rows say that settle it. A node counts as a lookup.
    package func lookupAtHand(parent: UInt64, name: UnsafeRawBufferPointer) -> LookedUp? {
        if let node = knownNode(parent: parent, name: name) { return .found(markingDue(node)) }
        guard let directory = inodes[parent]?.directory, directory.view == .objects, name.count <= Names.bytesMax,
            !name.elementsEqual(Names.versions), case .segment(let segment)? = Names.query(Array(name)),
            stagedFiles.isEmpty || stagedFiles[directory.key(of: segment)] == nil
        else { return nil }
        let segments = [segment + [Self.slash], segment]
        // Before the rows are read: what it covers now is among them.
        let listing = listingUnderWay(of: directory).flatMap { listing in
            listing.covers(segments) ? listing : nil
        }
        guard let (state, known) = reader.glance.look(segments, below: directory.prefix),
            let rows = settled(known, state, listing, of: segments.count)
        else { return nil }
        guard let row = rows.first(where: \.isDirectory) ?? rows.first else { return .absent }
        if row.hasUnknownAttributes, directory.mayAskAttributes { return nil }
        let node = remember(Found(row: row, isShadowed: false), in: directory)
        if !pollers.isEmpty { tellPollers(of: node.inode) }
        return .found(markingDue(node))
    }

    private func knownNode(parent: UInt64, name: UnsafeRawBufferPointer) -> Node? {
        let now = Timestamp.now()
        var number = InodeNumber(parent: parent)
        number.add(name)
        let asObject = inodes.number(number.value)
        number.add(CollectionOfOne(Self.slash))
        let asDirectory = inodes.number(number.value)
        return inodes.withLock { inodes in
            for number in [asDirectory, asObject] {
                guard let index = inodes.index(forKey: number) else { continue }
                guard inodes.values[index].isNamed(name, in: parent),
                    inodes.values[index].staged != nil || isFresh(inodes.values[index].checkedAt, at: now)
                else { continue }
                inodes.values[index].lookups += 1
                return node(number, inodes.values[index])
            }
            return nil
        }
    }

    /// What is known of the inode, if it or its row is fresh.
    package func nodeAtHand(_ number: UInt64, through handle: UInt64? = nil) -> Node? {
        if let handle, openFiles.hasContent(number) {
            do throws(FileError) { if let node = try earlierNode(number, handle) { return node } } catch { return nil }
        }
        guard let node = inodes.update(number, { node(number, $0) }) else { return nil }
        if node.isDirectory { return isMarkerDue(number) ? nil : node }
        if isFresh(node.checkedAt) { return node }
        guard let inode = inodes[number], let home = inode.home, home.view == .objects, !inode.isRemoved,
            let row = reader.glance.look([inode.segment], below: home.prefix)?.rows.first,
            learn(number, inode, row) != nil,
            // On disk for a moment it has forgotten that.
            let learned = inodes.update(number, { self.node(number, $0) }), isFresh(learned.checkedAt)
        else { return nil }
        return learned
    }

    package func forget(_ number: UInt64, count: UInt64) { inodes.forget(number, count: count) }

    // MARK: Asking

    /// The entry of this name, or nil when there is none. Counts as a lookup.
    package func lookup(parent: UInt64, name: [UInt8]) async throws(FileError) -> Node? {
        guard let inode = inodes[parent] else { throw .stale }
        guard let directory = inode.directory else { throw .notDirectory }
        guard name.count <= Names.bytesMax else { throw .nameTooLong }
        guard var found = try await find(name, in: directory) else { return nil }
        if directory.mayAskAttributes(of: found.row) {
            found.row.kind = .object(try await head(found.row.segment, in: directory))
        }
        let node = remember(found, in: directory)
        tellPollers(of: node.inode)
        return markingDue(node)
    }

    /// What is known of the inode; asks the store when that is stale. Listings that have seen it since count. Through
    /// an open file, what that one is.
    package func attributes(_ number: UInt64, through handle: UInt64? = nil) async throws(FileError) -> Node {
        if let handle, let node = try earlierNode(number, handle) { return node }
        guard let inode = inodes[number] else { throw .stale }
        if inode.directory == nil, inode.staged == nil, !inode.isRemoved, !isFresh(inode.checkedAt) {
            _ = try await refreshed(number, inode)
        }
        if isMarkerDue(number) { await askMarker(number, inode) }
        return try await knownNode(number)
    }

    /// The inode as it is known.
    func knownNode(_ number: UInt64) async throws(FileError) -> Node {
        guard var inode = inodes[number] else { throw .stale }
        // It may have been on disk for a moment.
        if inode.directory == nil, inode.record == nil { inode.record = try await freshRecord(number) }
        return node(number, inode)
    }

    /// The object's record, not older than the TTL.
    func freshRecord(_ number: UInt64) async throws(FileError) -> ObjectRecord {
        guard let inode = inodes[number] else { throw .stale }
        guard inode.directory == nil else { throw .isDirectory }
        if let staged = inode.staged {
            // The object is what it was; the file is not.
            let now = staged.record
            var record = inode.record ?? now
            (record.sizeBytes, record.modified, record.attributes) = (now.sizeBytes, now.modified, now.attributes)
            return record
        }
        if inode.isRemoved {
            guard let record = inode.record else { throw .stale }
            return record
        }
        if let record = inode.record, isFresh(inode.checkedAt) { return record }
        return try await refreshed(number, inode)
    }

    /// The same, with what a listing may have left out: whether the object is frozen.
    func settledRecord(_ number: UInt64) async throws(FileError) -> ObjectRecord {
        let record = try await freshRecord(number)
        guard record.mayBeArchivedUnseen, let inode = inodes[number], let home = inode.home else { return record }
        return try await head(inode.segment, in: home)
    }

    private func refreshed(_ number: UInt64, _ inode: Inode) async throws(FileError) -> ObjectRecord {
        guard let home = inode.home else { throw .isDirectory }
        if inode.version == nil, let row = try await knownRows([inode.segment], in: home).first,
            let record = learn(number, inode, row)
        {
            return record
        }
        return try await head(inode.segment, in: home)
    }

    /// Gives an inode what its row tells; nil when that is of no use.
    private func learn(_ number: UInt64, _ inode: Inode, _ row: MetadataRow) -> ObjectRecord? {
        guard isFresh(row.checkedAt), case .object(let record) = row.kind else { return nil }
        learn(number, record, at: row.checkedAt)
        hastenIfReadable(inode.key, version: nil, record)
        return record
    }

    /// Asks the store for one object, or one version of it, and remembers the answer everywhere.
    func head(_ segment: [UInt8], in home: Directory) async throws(FileError) -> ObjectRecord {
        let key = home.key(of: segment)
        let version = home.version(of: segment)
        do throws(StoreError) {
            let record = try await store.head(key, version: version)
            await learned(key, version: version, record)
            hastenIfReadable(key, version: version, record)
            return record
        } catch {
            if error.kind == .noSuchKey {
                await learned(key, version: version, nil)
            } else {
                report("HEAD", key, error)
            }
            throw FileError(error)
        }
    }

    /// Takes in what somebody found out about an object, or one version of it; nil: it is gone.
    func learned(_ key: ObjectKey, version: String?, _ record: ObjectRecord?) async {
        await learned([(key, version, record)])
    }

    /// Takes in what somebody (a HEAD, a look at restores) found out about objects; nil: it is gone.
    func learned(_ news: [(key: ObjectKey, version: String?, record: ObjectRecord?)]) async {
        let now = Timestamp.now()
        let settled = news.map { key, version, found in
            var record = version == nil ? withDeferred(key, found) : found
            record?.settleArchiveStatus()
            return (key: key, version: version, record: record)
        }
        var rows: [ObjectKey: [MetadataRow]] = [:]
        // Of a version only its inode remembers anything.
        for (key, version, record) in settled where version == nil {
            guard let place = place(of: key) else { continue }
            let kind: MetadataRow.Kind = record.map { .object($0) } ?? .absent
            let row = MetadataRow(segment: place.segment, kind: kind, checkedAt: now)
            rows[place.directory, default: []].append(row)
        }
        for (directory, rows) in rows {
            do throws(MetadataError) { try await writer.record(rows, below: directory, listing: 0) } catch {
                _ = failure("remembering", directory, error)
            }
        }
        for (key, version, record) in settled {
            for number in knownFiles(key, version: version) { take(number, record, at: now) }
        }
    }

    /// Gives an inode what was found out about its object.
    private func take(_ number: UInt64, _ record: ObjectRecord?, at now: Timestamp) {
        // Whoever was asked about this one object knows better than a GET of some time ago.
        inodes.update(number) { $0.isKnownFrozen = false }
        let home = inodes[number]?.home
        home?.seenVersions.withLock { $0 = nil }
        home?.isChanged()
        if let record { return learn(number, record, at: now) }
        inodes.update(number) { inode in
            inode.checkedAt = .epoch
            inode.restore = .failed
        }
        kernelCache.value?.forgetAttributes(of: number)
        tellPollers(of: number)
    }

    /// Where an object stands in the tree, whether or not anybody has looked; nil when it is outside the mount.
    func place(of key: ObjectKey) -> (directory: ObjectKey, segment: [UInt8], number: UInt64)? {
        guard key.hasPrefix(root.prefix), key != root.prefix else { return nil }
        var prefix = root.prefix.bytes
        var parent = root.inode
        var rest = key.bytes[prefix.count...]
        // A key that ends in a slash is an object all the same: the one with an empty name in that directory.
        while let cut = rest.firstIndex(of: Self.slash) {
            parent = inodes.number(InodeNumber.of(rest[...cut], parent: parent))
            prefix += rest[...cut]
            rest = rest[(cut + 1)...]
        }
        return (ObjectKey(prefix), Array(rest), inodes.number(InodeNumber.of(rest, parent: parent)))
    }

    /// The inodes of this object, or of one version of it, as far as the kernel knows them.
    func knownFiles(_ key: ObjectKey, version: String?) -> [UInt64] {
        guard let place = place(of: key) else { return [] }
        let numbers = version.map { versionInodes(key, $0) } ?? [place.number]
        return numbers.filter { number in
            guard let inode = inodes[number] else { return false }
            return inode.key == key && inode.version == version && inode.directory == nil && !inode.isRemoved
        }
    }

    /// Makes the next look at a file ask the store.
    func expire(_ number: UInt64, _ inode: Inode) async throws(MetadataError) {
        guard let home = inode.home else { return }
        if inode.version == nil { try await writer.expire(inode.segment, below: home.prefix) }
        home.seenVersions.withLock { $0 = nil }
        inodes.update(number) { inode in
            inode.checkedAt = .epoch
            inode.isKnownFrozen = false
        }
        kernelCache.value?.forgetAttributes(of: number)
    }

    /// Gives an inode its newer record. The kernel is told at once if it shows in `stat`: with the old size it would
    /// cut the new content short.
    private func learn(_ number: UInt64, _ record: ObjectRecord, at time: Timestamp) {
        let isVisible = inodes.update(number) { inode in
            let before = inode.record
            inode.learn(record, at: time)
            return before?.sizeBytes != inode.record?.sizeBytes || before?.modified != inode.record?.modified
        }
        if isVisible ?? false { kernelCache.value?.forgetAttributes(of: number) }
        tellPollers(of: number)
    }

    // MARK: Finding a name

    func find(_ name: [UInt8], in directory: Directory) async throws(FileError) -> Found? {
        if directory.view == .objects, name == Names.versions {
            let row = MetadataRow(segment: Names.versionsSegment, kind: .directory(nil), checkedAt: .now())
            return Found(row: row, isShadowed: false)
        }
        if directory.view == .objectVersions { return try await findVersion(name, in: directory) }
        switch Names.query(name) {
        case nil: return nil
        case .segment(let segment):
            let rows = try await rows([segment + [Self.slash], segment], in: directory)
            return (rows.first { $0.isDirectory } ?? rows.first).map { Found(row: $0, isShadowed: false) }
        case .shadowed(let segment):
            let rows = try await rows([segment + [Self.slash], segment], in: directory)
            guard rows.contains(where: { $0.isDirectory }) else { return nil }
            return rows.first { !$0.isDirectory }.map { Found(row: $0, isShadowed: true) }
        case .hashed(let leading, let isShadowed):
            return try await findHashed(name, leading, isShadowed, in: directory)
        }
    }

    /// A name too long to hold its segment: found by walking the entries that begin like it.
    func findHashed(
        _ name: [UInt8], _ leading: [UInt8], _ isShadowed: Bool, in directory: Directory
    ) async throws(FileError) -> Found? {
        var source = try await entrySource(of: directory)
        while let rows = try await source.next() {
            for row in rows where row.segment.starts(with: leading) {
                let found = Found(row: row, isShadowed: isShadowed)
                if found.name == name { return found }
            }
        }
        return nil
    }

    /// The present rows of these segments, from what is known or, where nothing fresh is, from the store.
    func rows(_ segments: [[UInt8]], in directory: Directory) async throws(FileError) -> [MetadataRow] {
        if directory.view == .versions { return try await versionedRows(segments, in: directory) }
        for segment in segments where segment.last != Self.slash {
            if let file = stagedFiles[directory.key(of: segment)] {
                return [MetadataRow(segment: segment, kind: .object(file.record), checkedAt: .now())]
            }
        }
        // The state before the rows: of a listing that ends in between, the rows are there at least.
        let state = try await listingState(of: directory)
        let known = try await allRows(segments, in: directory)
        // A refreshed name is to be asked for, whatever a listing said before.
        if known.contains(where: { $0.checkedAt == .epoch }) { return try await ask(segments, in: directory) }
        if let settled = settled(known, state, nil, of: segments.count) { return settled }
        if let listing = listingUnderWay(of: directory),
            let rows = try await rows(segments, coveredBy: listing, in: directory)
        {
            return rows
        }
        if let listing = try await listingForLookup(in: directory),
            let rows = try await rows(segments, coveredBy: listing, in: directory)
        {
            return rows
        }
        return try await ask(segments, in: directory)
    }

    func listingState(of directory: Directory) async throws(FileError) -> ListingState {
        do throws(MetadataError) { return try await reader.state(of: directory.prefix) } catch {
            throw failure("lookup", directory.prefix, error)
        }
    }

    /// The present ones of what is known of so many segments, if nobody need be asked. `listing` covers all of them,
    /// and did so before the rows were read.
    private func settled(
        _ known: [MetadataRow], _ state: ListingState, _ listing: DirectoryListing?, of segments: Int
    ) -> [MetadataRow]? {
        // A refreshed name is to be asked for, whatever a listing said before.
        if known.contains(where: { $0.checkedAt == .epoch }) { return nil }
        let present = known.filter { $0.kind != .absent }
        if isFresh(state.listedAt) { return present.filter { $0.checkedAt >= state.listedAt } }
        let fresh = known.filter { isFresh($0.checkedAt) }
        if fresh.count == segments { return fresh.filter { $0.kind != .absent } }
        return listing.map { listing in present.filter { $0.checkedAt >= listing.state.startedAt } }
    }

    /// The present rows, if a listing under way has settled all of the segments. They are read after that is certain.
    private func rows(
        _ segments: [[UInt8]], coveredBy listing: DirectoryListing, in directory: Directory
    ) async throws(FileError) -> [MetadataRow]? {
        guard listing.covers(segments) else { return nil }
        return try await knownRows(segments, in: directory).filter { $0.checkedAt >= listing.state.startedAt }
    }

    /// The second lookup that would ask the store lists one page of the directory instead: if it turns out to be all
    /// of it, no later lookup asks anything. A directory that one page does not cover is asked name by name.
    private func listingForLookup(in directory: Directory) async throws(FileError) -> DirectoryListing? {
        let asked = directory.progress.withLock { progress in
            progress.lookupsAsked += 1
            return progress.lookupsAsked
        }
        guard asked == 2 else { return nil }
        let listing = try await listing(of: directory)
        try await listing.begin()
        if listing.isComplete { directory.progress.withLock { $0.lookupsAsked = 0 } }
        return listing
    }

    private func knownRows(_ segments: [[UInt8]], in directory: Directory) async throws(FileError) -> [MetadataRow] {
        try await allRows(segments, in: directory).filter { $0.kind != .absent }
    }

    private func allRows(_ segments: [[UInt8]], in directory: Directory) async throws(FileError) -> [MetadataRow] {
        do throws(MetadataError) {
            return try await reader.rows(segments, below: directory.prefix)
        } catch {
            throw failure("lookup", directory.prefix, error)
        }
    }

    /// Asks the store for a name: a listing of what begins with it tells object and directory in one request, unless
    /// many names lie between `name` and `name/` (`name-1`, `name.txt`).
    private func ask(_ segments: [[UInt8]], in directory: Directory) async throws(FileError) -> [MetadataRow] {
        let wanted = Set(segments)
        guard let shortest = segments.min(by: { $0.count < $1.count }),
            let longest = segments.max(by: { $0.count < $1.count })
        else { return [] }
        let now = Timestamp.now()
        var found: [MetadataRow]
        do throws(StoreError) {
            var pages = Listing(store, ListRequest(prefix: directory.key(of: shortest), keysMax: 100))
            // A page may be empty where deleted versions are passed.
            var page = ListPage(objects: [], prefixes: [], continuationToken: nil)
            while page.isEmpty, let next = try await pages.next() { page = next }
            let rows = MetadataRow.rows(of: page, below: directory.prefix, at: now)
            found = rows.filter { wanted.contains($0.segment) }
            if page.continuationToken != nil, rows.last.map({ $0.segment.lexicographicallyPrecedes(longest) }) ?? true {
                let below = try await store.list(
                    ListRequest(prefix: directory.key(of: longest), delimiter: nil, keysMax: 1))
                if !below.objects.isEmpty {
                    found.append(MetadataRow(segment: longest, kind: .directory(nil), checkedAt: now))
                }
            }
        } catch {
            report("lookup", directory.key(of: shortest), error)
            throw FileError(error)
        }
        let absent = wanted.subtracting(found.map(\.segment)).map {
            MetadataRow(segment: $0, kind: .absent, checkedAt: now)
        }
        do throws(MetadataError) {
            try await writer.record(found + absent, below: directory.prefix, listing: 0)
        } catch {
            throw failure("lookup", directory.key(of: shortest), error)
        }
        // What was known of their attributes stays known, if they are the same.
        return try await knownRows(segments, in: directory)
    }
}

/// What a lookup found out.
package enum LookedUp: Sendable {
    case found(Node)
    case absent
}

extension Inode {
    func isNamed(_ name: UnsafeRawBufferPointer, in parent: UInt64) -> Bool {
        guard home?.inode == parent, isPlainlyNamed, !isRemoved else { return false }
        return bare.elementsEqual(name)
    }

    func isAt(_ segment: [UInt8], in directory: Directory) -> Bool {
        !isRemoved && home?.inode == directory.inode && self.segment == segment
    }

    /// The segment without the slash that ends a directory's.
    private var bare: ArraySlice<UInt8> {
        directory == nil || directory?.view == .objectVersions ? segment[...] : segment.dropLast()
    }

    /// The name under which the kernel knows it.
    var name: [UInt8] {
        if segment == Names.versionsSegment { return Names.versions }
        return isPlainlyNamed ? Array(bare) : Names.name(of: bare, isShadowed: Names.isPlain(bare))
    }

    mutating func learn(_ row: MetadataRow) {
        switch row.kind {
        case .object(let record) where directory == nil: learn(record, at: row.checkedAt)
        case .directory(let known):
            if let known { attributes = known }
            checkedAt = max(checkedAt, row.checkedAt)
        case .object: checkedAt = max(checkedAt, row.checkedAt)
        case .absent: break
        }
    }

    /// Newer knowledge replaces older; a row that was read before the inode learned better does not.
    mutating func learn(_ record: ObjectRecord, at time: Timestamp) {
        guard time >= checkedAt || checkedAt.isAhead(of: time) else { return }
        checkedAt = time
        guard record != self.record else { return }
        isKnownFrozen = false
        if record.etag != self.record?.etag ?? openedETag { isKnownRegular = false }
        self.record = record
    }
}
