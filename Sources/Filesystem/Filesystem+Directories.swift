internal import Metadata
internal import Synchronization
internal import ThawCore

/// Open directories by handle.
final class OpenDirectories: Sendable {
    private struct State {
        var next: UInt64 = 1
        var handles: [UInt64: DirectoryHandle] = [:]
    }

    private let state = Mutex<State>(State())

    func add(_ directory: Directory) -> UInt64 {
        state.withLock { state in
            defer { state.next += 1 }
            state.handles[state.next] = DirectoryHandle(directory)
            return state.next
        }
    }

    subscript(handle: UInt64) -> DirectoryHandle? { state.withLock { $0.handles[handle] } }

    func remove(_ handle: UInt64) { _ = state.withLock { $0.handles.removeValue(forKey: handle) } }
}

/// Where one reader of a directory stands. Offsets are ordinals: 0 is before `.`, 1 before `..`, 2 before the first
/// entry.
///
/// The kernel serialises the reads of one open directory, so nobody else moves the position while one is fetched.
final class DirectoryHandle: Sendable {
    let directory: Directory
    let position = Mutex<Position>(Position())

    struct Position: Sendable {
        var source: (any EntrySource)?
        var names = NameStream()
        /// Entries from ordinal `first` on. Those that were given stay until the next fetch: the kernel may not have
        /// had room for all of them, and asks for some again.
        var entries: [Found] = []
        var first: Int64 = 2
        /// When the oldest of them were read.
        var readAt = Timestamp.epoch
        var isAtEnd = false
        /// Fetches what comes after the entries.
        var ahead: Task<FetchedRows, Never>?

        mutating func take(_ rows: [MetadataRow], of directory: Directory, readAt: Timestamp) {
            self.readAt = entries.isEmpty ? readAt : min(self.readAt, readAt)
            for row in rows {
                if directory.view == .objectVersions {
                    // Version ids are no keys: none is the prefix of another.
                    entries.append(Found(row: row, isShadowed: false))
                } else {
                    names.take(row, into: &entries)
                }
            }
        }
    }

    init(_ directory: Directory) { self.directory = directory }
}

/// What a source gave next, and the source after that.
struct FetchedRows: Sendable {
    let rows: Result<[MetadataRow]?, FileError>
    let source: any EntrySource
    /// They may have changed since.
    let readAt: Timestamp

    static func next(of source: any EntrySource) async -> FetchedRows {
        var source = source
        let now = Timestamp.now()
        do throws(FileError) {
            let rows = try await source.next()
            return FetchedRows(rows: .success(rows), source: source, readAt: now)
        } catch {
            return FetchedRows(rows: .failure(error), source: source, readAt: now)
        }
    }
}

/// One name of a directory, as `readdir` gives it.
package struct DirectoryEntry {
    /// Ends in NUL; valid during the call only.
    package let name: UnsafePointer<CChar>
    package let node: Node
    /// Where a `readdir` continues after this entry.
    package let nextOffset: Int64
}

extension Filesystem {
    package func openDirectory(_ number: UInt64) throws(FileError) -> UInt64 {
        guard let inode = inodes[number] else { throw .stale }
        guard let directory = inode.directory else { throw .notDirectory }
        return openDirectories.add(directory)
    }

    package func closeDirectory(_ handle: UInt64) { openDirectories.remove(handle) }

    /// Gives entries from `offset` on to `take` until that answers false or memory has no more. With `countsLookups`
    /// a taken entry counts as a lookup of its inode. False when nothing was given and `fetchEntries` must come
    /// first; at the end of the directory, true with nothing given. `take` runs under a lock: it may only copy.
    package func fill(
        _ handle: UInt64, from offset: Int64, countsLookups: Bool, _ take: (DirectoryEntry) -> Bool
    ) -> Bool {
        guard let open = openDirectories[handle] else { return true }
        let directory = open.directory
        let dots = [(".", directory), ("..", directory.parent ?? directory)]
        for (index, (name, target)) in dots.enumerated() where offset <= Int64(index) {
            let node = Node(
                inode: target.inode, kind: .directory, sizeBytes: 0, modified: mountedAt, checkedAt: mountedAt)
            let isTaken = name.withCString {
                take(DirectoryEntry(name: $0, node: node, nextOffset: Int64(index) + 1))
            }
            if !isTaken { return true }
        }
        let start = max(offset, 2)
        let page = open.position.withLock { position -> (entries: ArraySlice<Found>, readAt: Timestamp)? in
            // A read from the start is a new look (rewinddir), not a repetition of the last.
            if offset == 0, position.source != nil { position = DirectoryHandle.Position() }
            guard start >= position.first else { return nil }
            let index = Int(start - position.first)
            if index < position.entries.count { return (position.entries[index...], position.readAt) }
            return position.isAtEnd ? ([], position.readAt) : nil
        }
        guard let page else { return offset < 2 }
        give(page.entries, of: directory, readAt: page.readAt, from: start, countsLookups: countsLookups, take)
        return true
    }

    private func give(
        _ entries: ArraySlice<Found>, of directory: Directory, readAt: Timestamp, from offset: Int64,
        countsLookups: Bool, _ take: (DirectoryEntry) -> Bool
    ) {
        let remembered = inodes.withLock { inodes in
            var remembered: [UInt64] = []
            var next = offset
            for found in entries {
                next += 1
                let node: Node
                if countsLookups {
                    node = remember(found, in: directory, readAt: readAt, &inodes)
                } else {
                    node = Node(
                        inode: InodeNumber.of(found.row.segment, parent: directory.inode),
                        kind: directory.view(of: found.row) != nil ? .directory : .file,
                        sizeBytes: 0, modified: mountedAt, checkedAt: found.row.checkedAt)
                }
                let isTaken = found.withName { take(DirectoryEntry(name: $0, node: node, nextOffset: next)) }
                if countsLookups { remembered.append(node.inode) }
                if isTaken { continue }
                if countsLookups { Self.undoLookup(node.inode, &inodes) }
                break
            }
            return remembered
        }
        if !pollers.isEmpty { remembered.forEach(tellPollers) }
    }

    private static func undoLookup(_ number: UInt64, _ inodes: inout [UInt64: Inode]) {
        guard let index = inodes.index(forKey: number) else { return }
        inodes.values[index].lookups -= 1
        if inodes.values[index].lookups == 0 { inodes.remove(at: index) }
    }

    /// Brings the entries at `offset` into memory, or finds the end of the directory.
    package func fetchEntries(_ handle: UInt64, at offset: Int64) async throws(FileError) {
        guard let open = openDirectories[handle] else { throw .stale }
        open.directory.isWalked()
        await inodes.waitForRoom()
        let offset = max(offset, 2)
        var position = open.position.withLock { $0 }
        if offset < position.first { position = DirectoryHandle.Position() }
        var source: any EntrySource
        if let current = position.source {
            source = current
        } else {
            source = try await entrySource(of: open.directory)
        }
        // If it fails, the next try asks anew.
        open.position.withLock { $0.ahead = nil }
        while !position.isAtEnd, position.first + Int64(position.entries.count) <= offset {
            let passed = min(Int(offset - position.first), position.entries.count)
            position.entries.removeFirst(passed)
            position.first += Int64(passed)
            let fetched = await rows(of: source, position.ahead)
            position.ahead = nil
            source = fetched.source
            if let rows = try fetched.rows.get() {
                position.take(rows, of: open.directory, readAt: fetched.readAt)
            } else {
                position.names.finish(into: &position.entries)
                position.isAtEnd = true
            }
        }
        // Whoever comes for more than one fetch gives is likely to want the next.
        if !position.isAtEnd, position.first > 2, position.ahead == nil {
            let next = source
            position.ahead = Task { await FetchedRows.next(of: next) }
        }
        position.source = source
        let fetched = position
        open.position.withLock { $0 = fetched }
    }

    /// The rows that are being fetched ahead, or the next of the source.
    private func rows(of source: any EntrySource, _ ahead: Task<FetchedRows, Never>?) async -> FetchedRows {
        guard let ahead else { return await FetchedRows.next(of: source) }
        return await withTaskCancellationHandler { await ahead.value } onCancel: { ahead.cancel() }
    }
}
