internal import Metadata
internal import ObjectStore
internal import Synchronization
package import ThawCore
internal import Upload
internal import Wire

/// What an operation needs to know of an inode, as a value that outlives the table's lock.
package struct Node: Sendable {
    package enum Kind: Sendable { case directory, file, symbolicLink }

    package var inode: UInt64
    package var kind: Kind
    package var sizeBytes: UInt64
    package var modified: Timestamp
    /// Permission bits, owner and group as far as they are stored.
    package var permissions: UInt32?
    package var uid: UInt32?
    package var gid: UInt32?
    /// When the store was last asked about it.
    package var checkedAt: Timestamp
    /// Its attributes are not all known yet: the kernel had better ask when somebody wants them.
    package var attributesAreDue = false

    package var isDirectory: Bool { kind == .directory }
}

/// An inode that the kernel knows. There is one for every name that somebody looked at, so what few of them have is
/// kept apart.
struct Inode: Sendable {
    /// The directory that it is a name of; nil for the mount's root.
    var home: Directory?
    var segment: [UInt8]
    /// What a directory's children share; nil for a file.
    let directory: Directory?
    private var known: Known?
    private var rare: Rare?
    var checkedAt: Timestamp
    /// Lookups that the kernel has not taken back.
    var lookups: UInt64 = 0
    /// Its name is the segment itself; see `Names` for the others.
    var isPlainlyNamed: Bool
    /// A GET or a restore said it is frozen, whatever the record says (a listing may not tell), until the next record.
    var isKnownFrozen = false
    /// It was asked, and is no symbolic link, though its attributes are not known.
    var isKnownRegular = false
    /// Its name has been taken away; who has it open still reads it.
    var isRemoved = false
    /// What became of the restore that was asked for through this mount; for those who poll.
    var restore: Restore = .none

    enum Restore: Sendable { case none, underWay, failed }

    init(
        home: Directory?, segment: [UInt8], isPlainlyNamed: Bool, directory: Directory?, record: ObjectRecord?,
        checkedAt: Timestamp, lookups: UInt64
    ) {
        self.home = home
        self.segment = segment
        self.isPlainlyNamed = isPlainlyNamed
        self.directory = directory
        self.checkedAt = checkedAt
        self.lookups = lookups
        known = record.map { Known($0) }
    }

    var key: ObjectKey { home?.key(of: segment) ?? .empty }
    /// The version that a file below `.versions` is; nil for an object as it is.
    var version: String? { home?.version(of: segment) }

    // MARK: What is kept apart

    /// Of an object; most have nothing else.
    private final class Known: Sendable {
        let sizeBytes: UInt64
        let modified: Timestamp
        let etag: String
        let storageClass: StorageClass
        let more: More?

        init(_ record: ObjectRecord) {
            sizeBytes = record.sizeBytes
            modified = record.modified
            etag = record.etag
            storageClass = record.storageClass
            let hasMore =
                record.restore != nil || record.archiveStatus != nil || record.versionID != nil
                || record.attributes != nil
            more = hasMore ? More(record) : nil
        }

        var record: ObjectRecord {
            more?.record
                ?? ObjectRecord(sizeBytes: sizeBytes, modified: modified, etag: etag, storageClass: storageClass)
        }
    }

    private final class More: Sendable {
        let record: ObjectRecord
        init(_ record: ObjectRecord) { self.record = record }
    }

    private struct Details {
        var openedETag = ""
        var hiddenKeys: [ObjectKey] = []
        var movedHash: UInt64?
        var staged: StagedFile?
        var attributes: FileAttributes?
        var markerCheckedAt = Timestamp.epoch
        var namesChangedAt: Timestamp?
    }

    private final class Rare: Sendable {
        let details: Details
        init(_ details: Details) { self.details = details }
    }

    private var details: Details {
        get { rare?.details ?? Details() }
        set { rare = Rare(newValue) }
    }

    /// Nil for a directory.
    var record: ObjectRecord? {
        get { known?.record }
        set { known = newValue.map { Known($0) } }
    }

    var sizeBytes: UInt64 { known?.sizeBytes ?? 0 }
    var modified: Timestamp? { known?.modified }
    /// A file's, as far as they are known.
    var objectAttributes: FileAttributes? { known?.more?.record.attributes }

    /// The version that was opened last, whose pages the kernel may still have.
    var openedETag: String {
        get { rare?.details.openedETag ?? "" }
        set { details.openedETag = newValue }
    }

    /// Where objects that the file was lie for those who have it open.
    var hiddenKeys: [ObjectKey] {
        get { rare?.details.hiddenKeys ?? [] }
        set { details.hiddenKeys = newValue }
    }

    /// What its number would be by its name, if it has another.
    var movedHash: UInt64? {
        get { rare?.details.movedHash }
        set { details.movedHash = newValue }
    }

    /// The file as it is being changed through this mount.
    var staged: StagedFile? {
        get { rare?.details.staged }
        set { if newValue != nil || rare != nil { details.staged = newValue } }
    }

    /// A directory's, as far as they are known.
    var attributes: FileAttributes? {
        get { rare?.details.attributes }
        set { details.attributes = newValue }
    }

    /// When somebody last looked at what a directory's marker says of them.
    var markerCheckedAt: Timestamp {
        get { rare?.details.markerCheckedAt ?? .epoch }
        set { details.markerCheckedAt = newValue }
    }

    /// When a name of the directory was last made or taken away here.
    var namesChangedAt: Timestamp? {
        get { rare?.details.namesChangedAt }
        set { details.namesChangedAt = newValue }
    }
}

/// The inodes that the kernel knows, by number. One lock, a leaf; every operation under it is short and calls nobody.
///
/// Beyond a number of them, those that came first and that nobody uses lie on disk (`InodeTable+Idle.swift`). Whoever
/// asks for one by number has it in memory again; `withLock` shows what is in memory.
final class InodeTable: Sendable {
    private let inodes: Mutex<[UInt64: Inode]>
    /// Inodes that are not where their number says: by what a name's number would be, for those that were renamed and
    /// those that came while an inode without a name had their number.
    private let moved = Mutex<[UInt64: UInt64]>([:])
    private let hasMoved = Atomic(false)
    /// Nil where there may be as many inodes as there are names.
    let limit: InodeLimit?
    /// Their inodes stay in memory.
    let openFiles: OpenFiles

    init(root: Directory, at now: Timestamp, openFiles: OpenFiles, limit: InodeLimit?) {
        let inode = Inode(
            home: nil, segment: [], isPlainlyNamed: true, directory: root, record: nil, checkedAt: now, lookups: 1)
        inodes = Mutex([root.inode: inode])
        self.openFiles = openFiles
        self.limit = limit
    }

    func withLock<Result: Sendable>(_ body: (inout [UInt64: Inode]) -> Result) -> Result {
        inodes.withLock { body(&$0) }
    }

    subscript(number: UInt64) -> Inode? {
        repeat { if let inode = inodes.withLock({ $0[number] }) { return inode } } while wake(number)
        return nil
    }

    /// The number that an inode of this name has, if there is one.
    func number(_ hash: UInt64) -> UInt64 {
        hasMoved.load(ordering: .relaxed) ? moved.withLock { $0[hash] ?? hash } : hash
    }

    /// An inode of that name has this number from now on.
    func setNumber(_ number: UInt64, for hash: UInt64) {
        moved.withLock { $0[hash] = number == hash ? nil : number }
        hasMoved.store(true, ordering: .relaxed)
    }

    /// Those in memory.
    var count: Int { inodes.withLock { $0.count } }

    /// Changes an inode in place; nil when the kernel no longer knows it.
    @discardableResult
    func update<Result: Sendable>(_ number: UInt64, _ body: (inout Inode) -> Result) -> Result? {
        repeat {
            let result = inodes.withLock { inodes -> Result? in
                guard let index = inodes.index(forKey: number) else { return nil }
                return body(&inodes.values[index])
            }
            if let result { return result }
        } while wake(number)
        return nil
    }

    /// The kernel takes lookups back; an inode without any is dropped. The root stays.
    func forget(_ number: UInt64, count: UInt64) {
        let lookups = ForgottenLookups(number: number, count: count)
        if number == 1 || takeBack(lookups, mayDrop: !(limit?.mayHoldAny ?? false)) { return }
        // Some of them may be of what lies on disk.
        forgetLater(lookups)
    }

    /// False when the inode is not in memory, or has no other lookups and may not be dropped.
    @discardableResult
    func takeBack(_ lookups: ForgottenLookups, mayDrop: Bool) -> Bool {
        inodes.withLock { inodes in
            guard let index = inodes.index(forKey: lookups.number) else { return false }
            if inodes.values[index].lookups > lookups.count {
                inodes.values[index].lookups -= lookups.count
                return true
            }
            guard mayDrop else { return false }
            if let hash = inodes.remove(at: index).value.movedHash {
                moved.withLock { moved in if moved[hash] == lookups.number { moved[hash] = nil } }
            }
            return true
        }
    }
}
