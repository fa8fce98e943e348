internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Upload
internal import Wire

/// The files of a mount that have changes of ours, by key: open ones, and those that wait to be stored. Lookups and
/// listings show them over what the store has.
final class StagedFiles: Sendable {
    private struct Entry {
        let file: StagedFile
        /// Open handles, and operations at work on it.
        var users: Int
    }

    private let entries = Mutex<[ObjectKey: Entry]>([:])
    private let count = Atomic(0)
    private let settling = Atomic(0)

    var isEmpty: Bool { count.load(ordering: .acquiring) == 0 }

    subscript(key: ObjectKey) -> StagedFile? { isEmpty ? nil : entries.withLock { $0[key]?.file } }

    /// The file, kept until as many times `leave` is called.
    func use(_ key: ObjectKey) -> StagedFile? {
        if isEmpty { return nil }
        return entries.withLock { entries in
            entries[key]?.users += 1
            return entries[key]?.file
        }
    }

    /// The file, made if there is none, and used.
    func use(
        _ key: ObjectKey, or make: () throws(UploadError) -> StagedFile
    ) throws(UploadError) -> (file: StagedFile, isNew: Bool) {
        let result: Result<(file: StagedFile, isNew: Bool), UploadError> = entries.withLock { entries in
            defer { count.store(entries.count, ordering: .releasing) }
            if let known = entries[key]?.file {
                entries[key]?.users += 1
                return .success((known, false))
            }
            do throws(UploadError) {
                let file = try make()
                entries[key] = Entry(file: file, users: 1)
                return .success((file, true))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// Adds what an earlier mount has promised.
    func add(_ file: StagedFile) {
        entries.withLock { entries in
            entries[file.key] = Entry(file: file, users: 0)
            count.store(entries.count, ordering: .releasing)
        }
    }

    /// For one handle more.
    func use(_ file: StagedFile, times: Int) {
        entries.withLock { entries in
            guard entries[file.key]?.file === file else { return }
            entries[file.key]?.users += times
        }
    }

    func isUsed(_ file: StagedFile) -> Bool {
        entries.withLock { entries in entries[file.key].map { $0.file === file && $0.users > 0 } ?? false }
    }

    /// Something is at work on what was left unstored by its last close, until `endSettling`.
    func beginSettling() { settling.add(1, ordering: .acquiringAndReleasing) }

    func endSettling() { settling.subtract(1, ordering: .acquiringAndReleasing) }

    var isSettling: Bool { settling.load(ordering: .acquiring) > 0 }

    func leave(_ file: StagedFile) {
        entries.withLock { entries in
            guard entries[file.key]?.file === file else { return }
            entries[file.key]?.users -= 1
        }
    }

    /// Takes the file out if nobody uses it and the store has all of it.
    func retire(_ file: StagedFile) -> Bool {
        entries.withLock { entries in
            guard let entry = entries[file.key], entry.file === file, entry.users <= 0, !file.isPending,
                !file.isAccepted
            else { return false }
            entries[file.key] = nil
            count.store(entries.count, ordering: .releasing)
            return true
        }
    }

    /// Takes the file out if nobody uses it, whatever the store has of it.
    func removeUnused(_ file: StagedFile) -> Bool {
        entries.withLock { entries in
            guard let entry = entries[file.key], entry.file === file, entry.users <= 0 else { return false }
            entries[file.key] = nil
            count.store(entries.count, ordering: .releasing)
            return true
        }
    }

    /// The name is gone, whoever has the file open.
    func remove(_ file: StagedFile) {
        entries.withLock { entries in
            if entries[file.key]?.file === file { entries[file.key] = nil }
            count.store(entries.count, ordering: .releasing)
        }
    }

    /// The file has another name. Its key is changed under the lock, so that it is always found under the one it has.
    func move(_ file: StagedFile, to key: ObjectKey) {
        entries.withLock { entries in
            guard let entry = entries[file.key], entry.file === file else { return }
            entries[file.key] = nil
            file.rename(to: key)
            entries[key] = entry
            count.store(entries.count, ordering: .releasing)
        }
    }

    func files(below prefix: ObjectKey) -> [StagedFile] {
        if isEmpty { return [] }
        return entries.withLock { entries in
            entries.values.lazy.map(\.file).filter { $0.key.hasPrefix(prefix) }
        }
    }

    var all: [StagedFile] { entries.withLock { $0.values.map(\.file) } }

    /// The rows of the files in a directory, in listing order.
    func rows(in prefix: ObjectKey) -> [MetadataRow] {
        let slash = UInt8(ascii: "/")
        return files(below: prefix).compactMap { file -> MetadataRow? in
            let segment = file.key.bytes.dropFirst(prefix.bytes.count)
            guard !segment.isEmpty, !segment.contains(slash) else { return nil }
            return MetadataRow(segment: Array(segment), kind: .object(file.record), checkedAt: .now())
        }.sorted { $0.segment.lexicographicallyPrecedes($1.segment) }
    }
}

extension StagedFile {
    /// What a lookup shows of it.
    var record: ObjectRecord {
        let (sizeBytes, attributes) = look()
        return ObjectRecord(
            sizeBytes: sizeBytes, modified: attributes.modified ?? .now(), etag: base?.etag ?? "",
            storageClass: StorageClass(""), attributes: attributes)
    }
}

/// Rows of a directory with those of staged files among them.
struct OverlaidRows: EntrySource {
    private var source: any EntrySource
    private var staged: ArraySlice<MetadataRow>
    /// A source that is asked again after its end may have what was stored since, which was given already.
    private var isAtEnd = false

    init(_ source: any EntrySource, staged: [MetadataRow]) {
        self.source = source
        self.staged = staged[...]
    }

    mutating func next() async throws(FileError) -> [MetadataRow]? {
        if isAtEnd { return nil }
        guard let rows = try await source.next() else {
            isAtEnd = true
            return staged.isEmpty ? nil : Array(staged)
        }
        if staged.isEmpty { return rows }
        var merged: [MetadataRow] = []
        merged.reserveCapacity(rows.count)
        for row in rows {
            while let next = staged.first, next.segment.lexicographicallyPrecedes(row.segment) {
                merged.append(next)
                staged.removeFirst()
            }
            if let next = staged.first, next.segment == row.segment {
                merged.append(next)
                staged.removeFirst()
            } else {
                merged.append(row)
            }
        }
        return merged
    }
}
