package import Logging
package import ObjectStore
internal import Synchronization
package import ThawCore
package import Wire

/// All vaults of an account as one store: keys are `vault/path`, and a vault is the prefix `vault/`. As in
/// `AccountStore`, putting `vault/` creates it and deleting `vault/` deletes it.
package final class VaultAccountStore: ObjectStore {
    package let dialect = Dialect.oas
    package let hasFixedTopLevel = true
    package let copiesFrozen = true

    private let client: VaultClient
    private let catalogue: Catalogue
    private let log: Logger
    private let changed: @Sendable () async -> Void
    private let stores = Mutex<[String: VaultStore]>([:])
    /// Vaults that may have been created here although the store's reply was lost.
    private let doubtful = Mutex<Set<String>>([])

    package init(
        client: VaultClient, catalogue: Catalogue, log: Logger, changed: @escaping @Sendable () async -> Void = {}
    ) {
        self.client = client
        self.catalogue = catalogue
        self.log = log
        self.changed = changed
    }

    // MARK: - Routing

    private struct Place {
        var vault: String
        var path: ObjectKey
        var prefix: ObjectKey { ObjectKey(vault + "/") }

        /// Nil for what is beside the vaults.
        init?(_ key: ObjectKey) {
            guard let slash = key.bytes.firstIndex(of: UInt8(ascii: "/")) else { return nil }
            vault = String(decoding: key.bytes[..<slash], as: UTF8.self)
            path = ObjectKey(key.bytes[(slash + 1)...])
        }
    }

    private func store(_ vault: String) -> VaultStore {
        stores.withLock { stores in
            if let store = stores[vault] { return store }
            let store = VaultStore(vault, client: client, catalogue: catalogue, log: log, changed: changed)
            stores[vault] = store
            return store
        }
    }

    /// Where a file is; `noSuchKey` for what can be none.
    private func file(_ key: ObjectKey) throws(StoreError) -> (store: VaultStore, path: ObjectKey) {
        guard let place = Place(key), !place.path.isEmpty else {
            throw StoreError(.noSuchKey, code: "NoSuchKey", message: "\(key) is no file: there are vaults here")
        }
        return (store(place.vault), place.path)
    }

    private func vaults(_ prefix: ObjectKey) async throws(StoreError) -> [String] {
        try await client.vaults().map(\.name).filter { ObjectKey($0 + "/").hasPrefix(prefix) }
            .sorted { ObjectKey($0 + "/") < ObjectKey($1 + "/") }
    }

    private func moved(_ source: CopySource, beside vault: String) throws(StoreError) -> CopySource {
        guard let place = Place(source.key), place.vault == vault else {
            throw .elsewhere("OAS copies nothing from one vault to another")
        }
        var source = source
        source.key = place.path
        return source
    }

    // MARK: - Reading

    package func list(_ request: ListRequest) async throws(StoreError) -> ListPage {
        guard let place = Place(request.prefix) else {
            return request.delimiter == nil ? try await listEverything(request) : try await listVaults(request)
        }
        return try await list(request, place.path, in: place.vault)
    }

    private func list(
        _ request: ListRequest, _ path: ObjectKey, in vault: String
    ) async throws(StoreError) -> ListPage {
        let prefix = ObjectKey(vault + "/")
        var inner = request
        inner.prefix = path
        inner.startAfter = request.startAfter.flatMap { $0.hasPrefix(prefix) ? $0.dropping(prefix) : nil }
        if let start = request.startAfter, start > prefix, !start.hasPrefix(prefix) {
            return ListPage(objects: [], prefixes: [], continuationToken: nil)
        }
        do throws(StoreError) {
            var page = try await store(vault).list(inner)
            for index in page.objects.indices { page.objects[index].key = prefix + page.objects[index].key.bytes }
            page.prefixes = page.prefixes.map { prefix + $0.bytes }
            return page
        } catch {
            // To a listing, a vault that is not there is a prefix that nothing has.
            guard error.kind == .noSuchBucket else { throw error }
            return ListPage(objects: [], prefixes: [], continuationToken: nil)
        }
    }

    /// There are ten at the most.
    private func listVaults(_ request: ListRequest) async throws(StoreError) -> ListPage {
        let keys = try await vaults(request.prefix).map { ObjectKey($0 + "/") }
        let start = request.startAfter ?? .empty
        return ListPage(objects: [], prefixes: keys.filter { $0 > start }, continuationToken: nil)
    }

    /// The token is `vault/` and what that vault goes on with.
    private func listEverything(_ request: ListRequest) async throws(StoreError) -> ListPage {
        let all = try await vaults(request.prefix)
        var inner = request
        var rest = all[...]
        inner.prefix = .empty
        if let token = request.continuationToken, let slash = token.firstIndex(of: "/") {
            let vault = token[..<slash]
            rest = rest.drop { ObjectKey($0 + "/") < ObjectKey(vault + "/") }
            // Of a vault that is gone, the token means nothing to the one that follows.
            let after = rest.first.map { $0 == vault } == true ? token[token.index(after: slash)...] : ""
            inner.continuationToken = after.isEmpty ? nil : String(after)
        } else if let start = request.startAfter {
            rest = rest.drop { vault in
                let key = ObjectKey(vault + "/")
                return key < start && !start.hasPrefix(key)
            }
        }
        guard let vault = rest.popFirst() else { return ListPage(objects: [], prefixes: [], continuationToken: nil) }
        var page = try await list(inner, .empty, in: vault)
        page.continuationToken = page.continuationToken.map { "\(vault)/\($0)" } ?? rest.first.map { $0 + "/" }
        return page
    }

    package func listVersions(_ request: VersionListRequest) async throws(StoreError) -> VersionPage {
        throw .unsupported("a vault has no versions")
    }

    package func head(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectRecord {
        let (store, path) = try file(key)
        return try await store.head(path, version: version)
    }

    package func describe(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectDescription {
        let (store, path) = try file(key)
        return try await store.describe(path, version: version)
    }

    package func get(
        _ key: ObjectKey, version: String?, range: Range<UInt64>, ifMatch: String?, into sink: any ByteSink
    ) async throws(StoreError) -> ObjectRecord {
        let (store, path) = try file(key)
        return try await store.get(path, version: version, range: range, ifMatch: ifMatch, into: sink)
    }

    package func restore(
        _ key: ObjectKey, version: String?, _ order: RestoreOrder
    ) async throws(StoreError) -> RestoreReply {
        let (store, path) = try file(key)
        return try await store.restore(path, version: version, order)
    }

    package func refreeze(_ key: ObjectKey, version: String?) async throws(StoreError) {
        let (store, path) = try file(key)
        try await store.refreeze(path, version: version)
    }

    package func archiveDirectRead() async throws(StoreError) -> Bool { false }

    /// Of the account, every vault of it.
    package func refresh(below prefix: ObjectKey) async throws(StoreError) {
        if let place = Place(prefix) { return try await store(place.vault).refresh(below: place.path) }
        for vault in try await vaults(prefix) { try await store(vault).refresh(below: .empty) }
    }

    // MARK: - Writing

    package func checks(_ condition: WriteCondition) -> Bool { true }

    package func put(
        _ key: ObjectKey, _ body: Payload, _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        guard let place = Place(key) else {
            throw .unsupported("\(key): there are only vaults here; files go into one of them")
        }
        guard place.path.isEmpty else { return try await store(place.vault).put(place.path, body, draft) }
        guard body.sizeBytes == 0 else { throw .unsupported("\(key) is a vault, which has no content of its own") }
        let there = try await client.vaults().first { $0.name == place.vault }?.id
        let isOurs = doubtful.withLock { $0.remove(place.vault) != nil }
        if there != nil, !isOurs, draft.condition == .isAbsent {
            throw StoreError(.preconditionFailed, code: "VaultExists", message: "there is a vault \(place.vault) already")
        }
        if let there {
            // There is nothing in a new one that the catalogue would have to learn of.
            if isOurs { try await catalogue.remember(there) }
        } else {
            do throws(StoreError) {
                try await catalogue.remember(try await client.createVault(place.vault))
            } catch {
                if error.mayFollowSuccess { doubtful.withLock { _ = $0.insert(place.vault) } }
                throw error
            }
        }
        return ObjectRecord(
            sizeBytes: 0, modified: .now(), etag: "\"\"", storageClass: StorageClass(""), attributes: FileAttributes())
    }

    package func copy(
        _ source: CopySource, to key: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord {
        guard let place = Place(key), !place.path.isEmpty else {
            throw .elsewhere("\(key) is a vault, and no copy of anything")
        }
        return try await store(place.vault).copy(try moved(source, beside: place.vault), to: place.path, draft)
    }

    package func delete(
        _ key: ObjectKey, version: String?, condition: WriteCondition
    ) async throws(StoreError) {
        guard let place = Place(key) else { return }
        guard place.path.isEmpty else {
            return try await store(place.vault).delete(place.path, version: version, condition: condition)
        }
        do throws(StoreError) {
            let id = try await client.vault(named: place.vault).id
            try await client.deleteVault(id)
            try await catalogue.forget(id)
        } catch {
            guard error.kind == .noSuchBucket else { throw error }
        }
        stores.withLock { $0[place.vault] = nil }
    }

    package func delete(_ keys: [ObjectKey]) async throws(StoreError) -> [DeleteFailure] {
        var failures: [DeleteFailure] = []
        for key in keys {
            do throws(StoreError) {
                try await delete(key, version: nil, condition: .always)
            } catch {
                if error.kind == .cancelled { throw error }
                failures.append(DeleteFailure(key: key, error: error))
            }
        }
        return failures
    }

    package func beginUpload(_ key: ObjectKey, _ draft: ObjectDraft) async throws(StoreError) -> MultipartUpload {
        let (store, path) = try file(key)
        return MultipartUpload(key: key, id: try await store.beginUpload(path, draft).id)
    }

    package func uploadPart(
        _ upload: MultipartUpload, number: Int, _ body: Payload
    ) async throws(StoreError) -> UploadedPart {
        let (store, path) = try file(upload.key)
        return try await store.uploadPart(MultipartUpload(key: path, id: upload.id), number: number, body)
    }

    package func copyPart(
        _ upload: MultipartUpload, number: Int, from source: CopySource, range: Range<UInt64>
    ) async throws(StoreError) -> UploadedPart {
        throw .unsupported("OAS copies nothing")
    }

    package func completeUpload(
        _ upload: MultipartUpload, _ parts: [UploadedPart], _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        let (store, path) = try file(upload.key)
        return try await store.completeUpload(MultipartUpload(key: path, id: upload.id), parts, draft)
    }

    package func abortUpload(_ upload: MultipartUpload) async throws(StoreError) {
        let (store, path) = try file(upload.key)
        try await store.abortUpload(MultipartUpload(key: path, id: upload.id))
    }
}
