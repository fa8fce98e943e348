package import ThawCore
package import Wire

extension AccountStore {
    package func list(_ request: ListRequest) async throws(StoreError) -> ListPage {
        guard case .bucket(let bucket, let prefix) = AccountPlace(request.prefix) else {
            return request.delimiter == nil
                ? try await listEverything(request) : try await listBuckets(request)
        }
        let place = ObjectKey(bucket + "/")
        var inner = request
        inner.prefix = prefix
        if let start = request.startAfter {
            guard place.isBeforeEnd(of: start) else { return .empty }
            inner.startAfter = start.hasPrefix(place) ? start.dropping(place) : nil
        }
        do throws(StoreError) {
            return try await store(bucket).list(inner).below(place)
        } catch {
            // To a listing, a bucket that is not there is a prefix that nothing has.
            guard error.kind == .noSuchBucket else { throw error }
            return .empty
        }
    }

    /// Buckets, as the common prefixes that they are.
    private func listBuckets(_ request: ListRequest) async throws(StoreError) -> ListPage {
        let start = request.continuationToken.map { ObjectKey($0) } ?? request.startAfter ?? .empty
        let keys = try await buckets(request.prefix.bytes).map { ObjectKey($0.name + "/") }.filter { $0 > start }
        let page = Array(keys.prefix(request.keysMax))
        let isLast = page.count == keys.count
        return ListPage(objects: [], prefixes: page, continuationToken: isLast ? nil : page.last?.description)
    }

    /// One page of one bucket's objects; the token is `bucket/` and what that bucket goes on with.
    private func listEverything(_ request: ListRequest) async throws(StoreError) -> ListPage {
        let all = try await buckets(request.prefix.bytes).map(\.name)
        var index = 0
        var inner = request
        inner.prefix = .empty
        inner.startAfter = nil
        inner.continuationToken = nil
        if let token = request.continuationToken, let slash = token.firstIndex(of: "/") {
            index = all.firstIndex { ObjectKey($0 + "/") >= ObjectKey(String(token[...slash])) } ?? all.count
            // Of a bucket that is gone, the token means nothing to the one that follows.
            let isThere = index < all.count && all[index] == token[..<slash]
            let rest = isThere ? token[token.index(after: slash)...] : ""
            inner.continuationToken = rest.isEmpty ? nil : String(rest)
        } else if let start = request.startAfter {
            index = all.firstIndex { ObjectKey($0 + "/").isBeforeEnd(of: start) } ?? all.count
            if index < all.count, start.hasPrefix(ObjectKey(all[index] + "/")) {
                inner.startAfter = start.dropping(ObjectKey(all[index] + "/"))
            }
        }
        guard index < all.count else { return .empty }
        let bucket = all[index]
        var page = try await store(bucket).list(inner).below(ObjectKey(bucket + "/"))
        if let token = page.continuationToken {
            page.continuationToken = "\(bucket)/\(token)"
        } else if index + 1 < all.count {
            page.continuationToken = all[index + 1] + "/"
        }
        return page
    }

    package func listVersions(_ request: VersionListRequest) async throws(StoreError) -> VersionPage {
        guard case .bucket(let bucket, let prefix) = AccountPlace(request.prefix) else {
            guard request.delimiter != nil else {
                throw .unsupported("the versions of all buckets are not listed at once")
            }
            let keys = try await buckets(request.prefix.bytes).map { ObjectKey($0.name + "/") }
            let page = Array(keys.filter { $0 > request.after?.key ?? .empty }.prefix(request.versionsMax))
            let next = page.last == keys.last ? nil : page.last.map { VersionMarker(key: $0, versionID: nil) }
            return VersionPage(versions: [], prefixes: page, next: next)
        }
        let place = ObjectKey(bucket + "/")
        var inner = request
        inner.prefix = prefix
        inner.after = request.after.map { VersionMarker(key: $0.key.dropping(place), versionID: $0.versionID) }
        var page = try await store(bucket).listVersions(inner)
        for index in page.versions.indices { page.versions[index].key = place + page.versions[index].key.bytes }
        page.prefixes = page.prefixes.map { place + $0.bytes }
        page.next = page.next.map { VersionMarker(key: place + $0.key.bytes, versionID: $0.versionID) }
        return page
    }

    package func head(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectRecord {
        let (store, key) = try await object(key)
        return try await store.head(key, version: version)
    }

    package func describe(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectDescription {
        let (store, key) = try await object(key)
        return try await store.describe(key, version: version)
    }

    package func get(
        _ key: ObjectKey, version: String?, range: Range<UInt64>, ifMatch: String?, into sink: any ByteSink
    ) async throws(StoreError) -> ObjectRecord {
        let (store, key) = try await object(key)
        return try await store.get(key, version: version, range: range, ifMatch: ifMatch, into: sink)
    }

    package func restore(
        _ key: ObjectKey, version: String?, _ order: RestoreOrder
    ) async throws(StoreError) -> RestoreReply {
        let (store, key) = try await object(key)
        return try await store.restore(key, version: version, order)
    }

    package func refreeze(_ key: ObjectKey, version: String?) async throws(StoreError) {
        let (store, key) = try await object(key)
        try await store.refreeze(key, version: version)
    }

    /// Each bucket has a setting of its own: a GET finds out.
    package func archiveDirectRead() async throws(StoreError) -> Bool { false }

    package func perform(
        _ operation: ConfigurationOperation, on configuration: BucketConfiguration, of place: ObjectKey
    ) async throws(StoreError) -> [UInt8] {
        guard case .bucket(let bucket, let inner) = AccountPlace(place) else {
            throw .unsupported("an account has buckets, and no \(configuration.name) of its own")
        }
        return try await store(bucket).perform(operation, on: configuration, of: inner)
    }

    /// The bucket of an object that is there, and its key in it.
    private func object(_ key: ObjectKey) async throws(StoreError) -> (BucketStore, ObjectKey) {
        guard case .bucket(let bucket, let inner) = AccountPlace(key), !inner.isEmpty else {
            throw StoreError(.noSuchKey, code: "NoSuchKey", message: "\(key) is no object: there are buckets here")
        }
        return (try await store(bucket), inner)
    }
}

extension ListPage {
    fileprivate static var empty: ListPage { ListPage(objects: [], prefixes: [], continuationToken: nil) }

    fileprivate func below(_ place: ObjectKey) -> ListPage {
        var page = self
        for index in page.objects.indices { page.objects[index].key = place + page.objects[index].key.bytes }
        page.prefixes = page.prefixes.map { place + $0.bytes }
        return page
    }
}

extension ObjectKey {
    package func dropping(_ prefix: ObjectKey) -> ObjectKey { ObjectKey(bytes.dropFirst(prefix.bytes.count)) }

    /// Whether there can be keys with this prefix after `start`.
    fileprivate func isBeforeEnd(of start: ObjectKey) -> Bool { self > start || start.hasPrefix(self) }
}

extension StoreError {
    package static func elsewhere(_ message: String) -> StoreError {
        StoreError(.elsewhere, code: "Elsewhere", message: message)
    }

    package static func unsupported(_ message: String) -> StoreError {
        StoreError(.unsupported, code: "Unsupported", message: message)
    }
}
