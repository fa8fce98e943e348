import Logging
import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Upload
import Wire

let source = ObjectKey("src/")
let target = ObjectKey("dst/")

/// A store with a tree below `src/`, and all that a `TreeCopy` needs.
final class TreeFixture: Sendable {
    let directory: TemporaryDirectory
    let store: FakeStore
    let writer: MetadataWriter
    let reader: MetadataReader
    let trees: TreeCopy

    init(
        _ store: FakeStore = FakeStore(), in directory: TemporaryDirectory? = nil, wholeBytesMax: UInt64? = nil
    ) throws {
        let directory = try directory ?? TemporaryDirectory()
        let path = directory.path + "/metadata.sqlite"
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        (self.directory, self.store) = (directory, store)
        writer = try MetadataWriter(path: path, executor: try ThreadExecutor(name: "db-writer"), log: log)
        reader = MetadataReader(path: path, executor: try ThreadExecutor(name: "db-reader"))
        trees = TreeCopy(store: store, writer: writer, log: log, wholeBytesMax: wholeBytesMax)
    }

    /// The same store, and the journal as it is now, for another mount.
    func afterCrash() throws -> TreeFixture {
        try TreeFixture(store, in: directory.copy(of: ["metadata.sqlite", "metadata.sqlite-wal"]))
    }

    /// Names of a tree with this many objects: a marker, and files at two depths.
    static func names(_ count: Int) -> [String] {
        (0..<count).map { $0 == 0 ? "" : ($0 % 2 == 0 ? "sub/" : "") + String(10_000 + $0) }
    }

    func put(_ count: Int, below prefix: ObjectKey = source) {
        for name in Self.names(count) { store.put(prefix + Array(name.utf8), Self.content(name)) }
    }

    static func content(_ name: String) -> [UInt8] { name.isEmpty ? [] : Array("content of \(name)".utf8) }

    func names(below prefix: ObjectKey) -> [String] {
        store.keys.filter { $0.hasPrefix(prefix) }.map {
            String(decoding: $0.bytes.dropFirst(prefix.bytes.count), as: UTF8.self)
        }
    }

    /// Whether the whole tree is below this prefix, with its content.
    func isWhole(_ count: Int, below prefix: ObjectKey) -> Bool {
        Self.names(count).allSatisfy { store.content(prefix + Array($0.utf8)) == Self.content($0) }
    }

    /// Names of which there is no object, or one with other content, in either place.
    func lost(_ count: Int) -> [String] {
        Self.names(count).filter { name in
            [source, target].allSatisfy { store.content($0 + Array(name.utf8)) != Self.content(name) }
        }
    }

    /// Nothing is left of the tree below the prefix.
    func isEmpty(_ prefix: ObjectKey) -> Bool { names(below: prefix).isEmpty }

    func rename() async throws(TreeCopyError) {
        try await trees.renameTree(from: source, to: target) { [store] _, record in
            record.storageClass.archiveRules(store.dialect) != nil && record.restore == nil
        }
    }

    func renameError() async -> TreeCopyError? {
        do throws(TreeCopyError) { try await rename() } catch { return error }
        return nil
    }

    var copies: [ObjectKey] {
        store.calls.compactMap { if case .copy(let source, _) = $0 { source.key } else { nil } }
    }

    var deletes: [[ObjectKey]] {
        store.calls.compactMap { if case .deleteMany(let keys) = $0 { keys } else { nil } }
    }
}

/// A count that closures share.
final class Counter: Sendable {
    private let count = Atomic(0)

    var value: Int { count.load(ordering: .sequentiallyConsistent) }

    /// Answers the new value.
    @discardableResult
    func add(_ number: Int = 1) -> Int { count.wrappingAdd(number, ordering: .sequentiallyConsistent).newValue }
}

extension StoreError {
    static let refused = StoreError(.denied, status: 403, code: "AccessDenied", message: "no", requestID: "fake-2")
}

/// The end of a process: lets it send so many requests and see so many replies to writes, and holds back whatever comes
/// after. Tasks belong to the process that they were begun in.
final class Crash: Sendable {
    @TaskLocal static var ofThisProcess: Crash?

    private let moments = Mutex(0)
    private let last: Int
    private let gate = Gate()

    init(after last: Int) { self.last = last }

    var hasHappened: Bool { gate.waiting > 0 }

    func pass() async throws(StoreError) {
        let moment = moments.withLock { moments in
            moments += 1
            return moments
        }
        guard moment > last else { return }
        await gate.pass()
        throw StoreError(.unavailable, code: "Crashed", message: "the process has ended")
    }

    /// Lets what is left of the process come to its end, without the store.
    func bury() { gate.open() }
}
