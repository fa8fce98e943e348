package import ThawCore

package struct VersionListRequest: Sendable, Equatable {
    package var prefix: ObjectKey
    /// `/` or nothing.
    package var delimiter: UInt8?
    /// Where the page before ended.
    package var after: VersionMarker?
    /// 1...1000
    package var versionsMax: Int

    package init(
        prefix: ObjectKey, delimiter: UInt8? = UInt8(ascii: "/"), after: VersionMarker? = nil, versionsMax: Int = 1000
    ) {
        self.prefix = prefix
        self.delimiter = delimiter
        self.after = after
        self.versionsMax = versionsMax
    }
}

/// A place in a listing of versions.
package struct VersionMarker: Sendable, Equatable {
    package var key: ObjectKey
    /// Nil: after every version of the key (or, of a common prefix, after all below it).
    package var versionID: String?

    package init(key: ObjectKey, versionID: String?) {
        self.key = key
        self.versionID = versionID
    }
}

package struct VersionPage: Sendable {
    package var versions: [ListedVersion]
    /// In byte order; they interleave with the versions' keys.
    package var prefixes: [ObjectKey]
    /// Nil when this page is the last.
    package var next: VersionMarker?

    package init(versions: [ListedVersion], prefixes: [ObjectKey], next: VersionMarker?) {
        self.versions = versions
        self.prefixes = prefixes
        self.next = next
    }
}

package struct ListedVersion: Sendable, Equatable {
    package var key: ObjectKey
    /// `null` for one that was written while the bucket had no versions.
    package var versionID: String
    /// What a request for the key alone gets.
    package var isLatest: Bool
    /// With `versionID`; nil for a delete marker.
    package var record: ObjectRecord?
    package var isDeleteMarker: Bool { record == nil }

    package init(key: ObjectKey, versionID: String, isLatest: Bool, record: ObjectRecord?) {
        self.key = key
        self.versionID = versionID
        self.isLatest = isLatest
        self.record = record
    }
}

/// Walks over the pages of one listing of versions, and finds out when they cannot be pages of one, as `Listing` does.
package struct VersionListing: Sendable {
    private static let emptyPagesMax = 1000

    private let store: any ObjectStore
    private var request: VersionListRequest
    private var lastKey: ObjectKey?
    private var lastPrefix: ObjectKey?
    /// Of the last key: a page may end between two versions of it.
    private var versionIDs: Set<String> = []
    private var emptyPages = 0
    private var isFinished = false

    package init(_ store: any ObjectStore, _ request: VersionListRequest) {
        self.store = store
        self.request = request
    }

    /// The next page, or nil after the last.
    package mutating func next() async throws(StoreError) -> VersionPage? {
        if isFinished { return nil }
        let page = try await store.listVersions(request)
        try check(page)
        request.after = page.next
        isFinished = page.next == nil
        return page
    }

    private mutating func check(_ page: VersionPage) throws(StoreError) {
        if let next = page.next, next == request.after { throw problem("loops: the same marker came twice") }
        emptyPages = page.versions.isEmpty && page.prefixes.isEmpty ? emptyPages + 1 : 0
        guard emptyPages <= Self.emptyPagesMax else { throw problem("does not end: \(emptyPages) empty pages") }
        let bound = [lastKey, lastPrefix].compactMap { $0 }.max()
        for version in page.versions {
            if version.key != lastKey {
                if let bound, version.key <= bound { throw problem("goes back, from \(bound) to \(version.key)") }
                if let lastKey, version.key < lastKey { throw problem("goes back, from \(lastKey) to \(version.key)") }
                try checkIsBelow(version.key)
                lastKey = version.key
                versionIDs = []
            }
            guard versionIDs.insert(version.versionID).inserted else {
                throw problem("has version \(version.versionID) of \(version.key) twice")
            }
        }
        for prefix in page.prefixes {
            if let bound, prefix <= bound { throw problem("goes back, from \(bound) to \(prefix)") }
            if let lastPrefix, prefix <= lastPrefix { throw problem("goes back, from \(lastPrefix) to \(prefix)") }
            try checkIsBelow(prefix)
            lastPrefix = prefix
        }
    }

    private func checkIsBelow(_ key: ObjectKey) throws(StoreError) {
        guard key.hasPrefix(request.prefix) else { throw problem("has \(key), which was not asked for") }
    }

    private func problem(_ words: String) -> StoreError {
        .nonsense("the listing of versions of \(request.prefix) \(words)")
    }
}
