package import ObjectStore
internal import Synchronization
package import ThawCore
package import Wire

/// An object store in memory that keeps count of what was asked, fails as it is told, and holds answers back at gates.
package final class FakeStore: ObjectStore {
    package struct Object: Sendable {
        package var record: ObjectRecord
        package var content: [UInt8]
        package var headers = ObjectHeaders()
    }

    package enum Call: Sendable, Equatable {
        case list(ListRequest)
        case head(ObjectKey)
        case get(ObjectKey, Range<UInt64>)
        case restore(ObjectKey, RestoreOrder)
        case refreeze(ObjectKey)
        case listVersions(VersionListRequest)
        case describe(ObjectKey)
        case put(ObjectKey, ObjectDraft)
        case copy(CopySource, ObjectKey)
        case delete(ObjectKey)
        case deleteMany([ObjectKey])
        case beginUpload(ObjectKey)
        case uploadPart(Int)
        case copyPart(Int, Range<UInt64>)
        case completeUpload(ObjectKey)
        case abortUpload(ObjectKey)
    }

    /// What a restore request does to the object, and the reply.
    package typealias Provider = @Sendable (ObjectKey, inout ObjectRecord, RestoreOrder) -> RestoreReply

    /// What to do with a call before it is answered; throws to fail it. Cancellation reaches it.
    package typealias Script = @Sendable (Call) async throws(StoreError) -> Void

    struct Version {
        var id: String
        /// Nil for a delete marker.
        var object: Object?
    }

    struct State {
        /// Newest first; without versioning one at the most, with the id `null`.
        var history: [ObjectKey: [Version]] = [:]
        var keepsVersions = false
        /// The versions that restores named, nil for the current one.
        var restoredVersions: [String?] = []
        var puts = 0
        var calls: [Call] = []
        var replies: [RestoreReply] = []
        var provider: Provider?
        var script: Script = { _ in }
        var pieceBytes = Int.max
        var keysMax = 1000
        var time = Timestamp(seconds: 1_700_000_000)
        var uploads: [String: Upload] = [:]
        var afterWrites: Script = { _ in }

        mutating func add(_ version: Version, to key: ObjectKey) {
            history[key] = [version] + (keepsVersions ? history[key] ?? [] : [])
        }

        func object(_ key: ObjectKey, _ version: String?) -> Object? {
            guard let version else { return history[key]?.first?.object }
            return history[key]?.first { $0.id == version }?.object
        }
    }

    package let dialect: Dialect
    let state = Mutex<State>(State())

    package init(_ dialect: Dialect = .oss) { self.dialect = dialect }

    // MARK: Setting up

    /// From here on what is put or removed leaves the versions before it. A version is called `v` and the number of
    /// the put or removal, unless a put names it.
    package func keepVersions() { state.withLock { $0.keepsVersions = true } }

    package func put(
        _ key: ObjectKey, _ content: [UInt8] = [], class name: String = "Standard", restore: RestoreHeader? = nil,
        archiveStatus: String? = nil, version: String? = nil
    ) {
        state.withLock { state in
            state.puts += 1
            let record = ObjectRecord(
                sizeBytes: UInt64(content.count), modified: state.time,
                etag: "\"\(state.puts)\"",
                storageClass: StorageClass(name), restore: restore, archiveStatus: archiveStatus,
                versionID: state.keepsVersions ? version ?? "v\(state.puts)" : nil)
            state.add(Version(id: record.versionID ?? "null", object: Object(record: record, content: content)), to: key)
        }
    }

    /// The store's clock; it stands still.
    package func setTime(_ time: Timestamp) { state.withLock { $0.time = time } }

    package func put(
        _ key: String, _ content: [UInt8] = [], class name: String = "Standard", restore: RestoreHeader? = nil
    ) {
        put(ObjectKey(key), content, class: name, restore: restore)
    }

    package func change(_ key: ObjectKey, version: String? = nil, _ body: (inout ObjectRecord) -> Void) {
        state.withLock { state in
            guard let index = state.history[key]?.firstIndex(where: { version == nil || $0.id == version }),
                var object = state.history[key]?[index].object
            else { return }
            body(&object.record)
            state.history[key]?[index].object = object
        }
    }

    package func remove(_ key: ObjectKey) {
        state.withLock { state in
            guard state.keepsVersions else {
                state.history[key] = nil
                return
            }
            state.puts += 1
            state.add(Version(id: "v\(state.puts)", object: nil), to: key)
        }
    }

    package func record(_ key: ObjectKey, version: String? = nil) -> ObjectRecord? {
        state.withLock { $0.object(key, version)?.record }
    }

    /// Replies to coming restore requests, in order; without one, `started`.
    package func replyToRestores(_ replies: RestoreReply...) { state.withLock { $0.replies = replies } }

    /// Restore requests change their objects from here on.
    package func provide(_ provider: @escaping Provider) { state.withLock { $0.provider = provider } }

    package func script(_ script: @escaping Script) { state.withLock { $0.script = script } }

    /// What to do when a write has taken effect and is not answered yet; throws to lose the reply.
    package func scriptReplies(_ script: @escaping Script) { state.withLock { $0.afterWrites = script } }

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

    package var restoredVersions: [String?] { state.withLock { $0.restoredVersions } }
    package var versionLists: [VersionListRequest] {
        calls.compactMap { if case .listVersions(let request) = $0 { request } else { nil } }
    }

    package func forgetCalls() { state.withLock { $0.calls = [] } }

    // MARK: ObjectStore

    func note(_ call: Call) async throws(StoreError) {
        let script = state.withLock { state in
            state.calls.append(call)
            return state.script
        }
        try await script(call)
        if Task.isCancelled { throw StoreError(.cancelled, code: "Cancelled", message: "cancelled") }
    }

    func found(_ key: ObjectKey, _ version: String?) throws(StoreError) -> Object {
        guard let object = state.withLock({ $0.object(key, version) }) else {
            throw StoreError(.noSuchKey, status: 404, code: "NoSuchKey", message: "no such key", requestID: "fake-1")
        }
        return object
    }

    package func head(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectRecord {
        try await note(.head(key))
        return try found(key, version).told
    }

    package func get(
        _ key: ObjectKey, version: String?, range: Range<UInt64>, ifMatch: String?, into sink: any ByteSink
    ) async throws(StoreError) -> ObjectRecord {
        try await note(.get(key, range))
        let object = try found(key, version)
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
        return object.told
    }

    package func restore(
        _ key: ObjectKey, version: String?, _ order: RestoreOrder
    ) async throws(StoreError) -> RestoreReply {
        try await note(.restore(key, order))
        _ = try found(key, version)
        state.withLock { $0.restoredVersions.append(version) }
        return state.withLock { state in
            if !state.replies.isEmpty { return state.replies.removeFirst() }
            guard let provider = state.provider else { return .started }
            let index = state.history[key]?.firstIndex { version == nil || $0.id == version }
            guard let index, var object = state.history[key]?[index].object else { return .started }
            defer { state.history[key]?[index].object = object }
            return provider(key, &object.record, order)
        }
    }

    package func refreeze(_ key: ObjectKey, version: String?) async throws(StoreError) {
        try await note(.refreeze(key))
        guard dialect == .oss else { throw StoreError(.unsupported, code: "Unsupported", message: "not in S3") }
        _ = try found(key, version)
        change(key, version: version) { $0.restore = nil }
    }

    package func archiveDirectRead() async throws(StoreError) -> Bool { false }

    package func list(_ request: ListRequest) async throws(StoreError) -> ListPage {
        try await note(.list(request))
        let (objects, limit) = state.withLock { ($0.history.compactMapValues(\.first?.object), $0.keysMax) }
        let start = request.continuationToken.map { ObjectKey(Self.bytes(fromHex: $0)) }
        var page = ListPage(objects: [], prefixes: [], continuationToken: nil)
        var last: ObjectKey?
        for key in objects.keys.sorted() where key.hasPrefix(request.prefix) {
            if request.continuationToken == nil, let after = request.startAfter, key <= after { continue }
            let shared = Self.commonPrefix(of: key, request.prefix, request.delimiter)
            let name = shared ?? key
            if let start, name <= start { continue }
            if name == last { continue }
            if page.objects.count + page.prefixes.count == min(request.keysMax, limit) {
                page.continuationToken = last.map { Self.hex($0.bytes) }
                break
            }
            last = name
            if let shared {
                page.prefixes.append(shared)
            } else if var record = objects[key]?.record {
                // Listings of objects tell neither the version nor Intelligent-Tiering's archive.
                record.versionID = nil
                record.archiveStatus = nil
                record.attributes = nil
                page.objects.append(ListedObject(key: key, record: record))
            }
        }
        return page
    }

    package func listVersions(_ request: VersionListRequest) async throws(StoreError) -> VersionPage {
        try await note(.listVersions(request))
        let (history, limit) = state.withLock { ($0.history, min($0.keysMax, request.versionsMax)) }
        var page = VersionPage(versions: [], prefixes: [], next: nil)
        var last: VersionMarker?
        for key in history.keys.sorted() where key.hasPrefix(request.prefix) {
            let shared = Self.commonPrefix(of: key, request.prefix, request.delimiter)
            let name = shared ?? key
            if shared != nil, name == last?.key { continue }
            if let after = request.after, name < after.key || name == after.key && after.versionID == nil { continue }
            var versions = (history[key] ?? [])[...]
            if let after = request.after, after.key == name {
                versions = versions.drop { $0.id != after.versionID }.dropFirst()
            }
            for version in shared == nil ? versions : versions.prefix(1) {
                if page.versions.count + page.prefixes.count == limit {
                    page.next = last
                    return page
                }
                last = VersionMarker(key: name, versionID: shared == nil ? version.id : nil)
                if let shared {
                    page.prefixes.append(shared)
                    continue
                }
                var record = version.object?.record
                record?.attributes = nil
                record?.versionID = version.id
                let isLatest = version.id == history[key]?.first?.id
                page.versions.append(
                    ListedVersion(key: key, versionID: version.id, isLatest: isLatest, record: record))
            }
        }
        return page
    }

    /// The common prefix that the key is listed under; nil when it is listed itself.
    private static func commonPrefix(of key: ObjectKey, _ prefix: ObjectKey, _ delimiter: UInt8?) -> ObjectKey? {
        let rest = key.bytes.dropFirst(prefix.bytes.count)
        guard let delimiter, let cut = rest.firstIndex(of: delimiter) else { return nil }
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
