package import ObjectStore
internal import Synchronization
package import ThawCore
package import Wire

/// An object store in memory that keeps count of what was asked, fails as it is told, and holds answers back at gates.
package final class FakeStore: ObjectStore {
    package struct Object: Sendable {
        package var record: ObjectRecord
        package var content: [UInt8]
    }

    package enum Call: Sendable, Equatable {
        case list(ListRequest)
        case head(ObjectKey)
        case get(ObjectKey, Range<UInt64>)
        case restore(ObjectKey, RestoreOrder)
    }

    /// What to do with a call before it is answered; throws to fail it. Cancellation reaches it.
    package typealias Script = @Sendable (Call) async throws(StoreError) -> Void

    private struct State {
        var objects: [ObjectKey: Object] = [:]
        var puts = 0
        var calls: [Call] = []
        var replies: [RestoreReply] = []
        var script: Script = { _ in }
        var pieceBytes = Int.max
        var keysMax = 1000
    }

    package let dialect: Dialect
    private let state = Mutex<State>(State())

    package init(_ dialect: Dialect = .oss) { self.dialect = dialect }

    // MARK: Setting up

    package func put(
        _ key: ObjectKey, _ content: [UInt8] = [], class name: String = "Standard", restore: RestoreHeader? = nil,
        archiveStatus: String? = nil
    ) {
        state.withLock { state in
            state.puts += 1
            let record = ObjectRecord(
                sizeBytes: UInt64(content.count), modified: Timestamp(seconds: 1_700_000_000),
                etag: "\"\(state.puts)\"",
                storageClass: StorageClass(name), restore: restore, archiveStatus: archiveStatus)
            state.objects[key] = Object(record: record, content: content)
        }
    }

    package func put(
        _ key: String, _ content: [UInt8] = [], class name: String = "Standard", restore: RestoreHeader? = nil
    ) {
        put(ObjectKey(key), content, class: name, restore: restore)
    }

    package func change(_ key: ObjectKey, _ body: (inout ObjectRecord) -> Void) {
        state.withLock { state in
            guard var object = state.objects[key] else { return }
            body(&object.record)
            state.objects[key] = object
        }
    }

    package func remove(_ key: ObjectKey) { _ = state.withLock { $0.objects.removeValue(forKey: key) } }

    package func record(_ key: ObjectKey) -> ObjectRecord? { state.withLock { $0.objects[key]?.record } }

    /// Replies to coming restore requests, in order; without one, `started`.
    package func replyToRestores(_ replies: RestoreReply...) { state.withLock { $0.replies = replies } }

    package func script(_ script: @escaping Script) { state.withLock { $0.script = script } }

    /// A GET's body comes in pieces of this size.
    package func deliver(pieceBytes: Int) { state.withLock { $0.pieceBytes = pieceBytes } }

    /// Names on one page of a listing at the most, whatever was asked for.
    package func paginate(by keysMax: Int) { state.withLock { $0.keysMax = keysMax } }

    // MARK: Counts

    package var calls: [Call] { state.withLock { $0.calls } }
    package var lists: [ListRequest] { calls.compactMap { if case .list(let request) = $0 { request } else { nil } } }
    package var heads: Int { calls.count { if case .head = $0 { true } else { false } } }
    package var gets: [Range<UInt64>] { calls.compactMap { if case .get(_, let range) = $0 { range } else { nil } } }
    package var orders: [RestoreOrder] {
        calls.compactMap { if case .restore(_, let order) = $0 { order } else { nil } }
    }

    package func forgetCalls() { state.withLock { $0.calls = [] } }

    // MARK: ObjectStore

    private func note(_ call: Call) async throws(StoreError) {
        let script = state.withLock { state in
            state.calls.append(call)
            return state.script
        }
        try await script(call)
        if Task.isCancelled { throw StoreError(.cancelled, code: "Cancelled", message: "cancelled") }
    }

    private func found(_ key: ObjectKey) throws(StoreError) -> Object {
        guard let object = state.withLock({ $0.objects[key] }) else {
            throw StoreError(.noSuchKey, status: 404, code: "NoSuchKey", message: "no such key", requestID: "fake-1")
        }
        return object
    }

    package func head(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectRecord {
        try await note(.head(key))
        return try found(key).record
    }

    package func get(
        _ key: ObjectKey, version: String?, range: Range<UInt64>, ifMatch: String?, into sink: any ByteSink
    ) async throws(StoreError) -> ObjectRecord {
        try await note(.get(key, range))
        let object = try found(key)
        if let ifMatch, ifMatch != object.record.etag {
            throw StoreError(.preconditionFailed, status: 412, code: "PreconditionFailed", message: "replaced")
        }
        guard range.lowerBound < UInt64(object.content.count) else {
            throw StoreError(.invalidRange, status: 416, code: "InvalidRange", message: "past the end")
        }
        let end = min(Int(clamping: range.upperBound), object.content.count)
        let pieceBytes = state.withLock { $0.pieceBytes }
        var offset = Int(range.lowerBound)
        while offset < end {
            let next = min(offset + min(pieceBytes, end - offset), end)
            let isWanted = object.content[offset..<next].withUnsafeBytes { sink.receive($0) }
            guard isWanted else { throw StoreError(.cancelled, code: "Cancelled", message: "not wanted") }
            offset = next
        }
        return object.record
    }

    package func restore(
        _ key: ObjectKey, version: String?, _ order: RestoreOrder
    ) async throws(StoreError) -> RestoreReply {
        try await note(.restore(key, order))
        _ = try found(key)
        return state.withLock { $0.replies.isEmpty ? .started : $0.replies.removeFirst() }
    }

    package func archiveDirectRead() async throws(StoreError) -> Bool { false }

    package func list(_ request: ListRequest) async throws(StoreError) -> ListPage {
        try await note(.list(request))
        let (objects, limit) = state.withLock { ($0.objects, $0.keysMax) }
        let start = request.continuationToken.map { ObjectKey(Self.bytes(fromHex: $0)) }
        var page = ListPage(objects: [], prefixes: [], continuationToken: nil)
        var last: ObjectKey?
        for key in objects.keys.sorted() where key.hasPrefix(request.prefix) {
            if request.continuationToken == nil, let after = request.startAfter, key <= after { continue }
            let name = Self.name(of: key, request)
            if let start, name <= start { continue }
            if name == last { continue }
            if page.objects.count + page.prefixes.count == min(request.keysMax, limit) {
                page.continuationToken = last.map { Self.hex($0.bytes) }
                break
            }
            last = name
            if name == key, let record = objects[key]?.record {
                page.objects.append(ListedObject(key: key, record: record))
            } else {
                page.prefixes.append(name)
            }
        }
        return page
    }

    /// The key, or the common prefix that it is listed under. A key that ends in the delimiter is its own prefix.
    private static func name(of key: ObjectKey, _ request: ListRequest) -> ObjectKey {
        let rest = key.bytes.dropFirst(request.prefix.bytes.count)
        guard let delimiter = request.delimiter, let cut = rest.firstIndex(of: delimiter) else { return key }
        return ObjectKey(key.bytes[...cut])
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func bytes(fromHex text: String) -> [UInt8] {
        let digits = text.compactMap(\.hexDigitValue)
        return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
    }
}
