import ThawCore

/// Walks over the pages of one listing, and finds out when they cannot be pages of one: a token that comes
/// again, keys that go back, keys that were not asked for.
package struct Listing: Sendable {
    /// A store may answer with pages of nothing while it passes deleted keys, but not for ever.
    private static let emptyPagesMax = 1000

    private let store: any ObjectStore
    private var request: ListRequest
    private let startAfter: ObjectKey?
    /// The last key or prefix that was told.
    private(set) var last: ObjectKey?
    private var emptyPages = 0
    private(set) var isFinished = false

    package init(_ store: any ObjectStore, _ request: ListRequest) {
        self.store = store
        self.request = request
        startAfter = request.continuationToken == nil ? request.startAfter : nil
    }

    /// The next page, or nil after the last.
    package mutating func next() async throws(StoreError) -> ListPage? {
        if isFinished { return nil }
        let page = try await store.list(request)
        try adopt(page)
        return page
    }

    /// Takes a page that was asked for otherwise, of what comes after `last`, and goes on after it.
    mutating func adopt(_ page: ListPage) throws(StoreError) {
        try check(page)
        request.continuationToken = page.continuationToken
        isFinished = page.continuationToken == nil
    }

    private mutating func check(_ page: ListPage) throws(StoreError) {
        if let token = page.continuationToken, token == request.continuationToken {
            throw .nonsense("the listing of \(request.prefix) loops: the same continuation token came twice")
        }
        emptyPages = page.isEmpty ? emptyPages + 1 : 0
        guard emptyPages <= Self.emptyPagesMax else {
            throw .nonsense(
                "the listing of \(request.prefix) does not end: \(emptyPages) pages with nothing in them"
            )
        }
        // A prefix may sort before the start: it stands for keys that come after it.
        let ends = [
            try run(page.objects.lazy.map(\.key), after: last ?? startAfter),
            try run(page.prefixes, after: last),
        ]
        last = ends.compactMap { $0 }.max() ?? last
    }

    /// Checks one sequence of keys that must ascend from the page before; answers its last.
    private func run(_ keys: some Sequence<ObjectKey>, after bound: ObjectKey?) throws(StoreError)
        -> ObjectKey?
    {
        var previous = bound
        var end: ObjectKey?
        for key in keys {
            if let previous, key <= previous {
                throw .nonsense("the listing of \(request.prefix) goes back, from \(previous) to \(key)")
            }
            guard key.hasPrefix(request.prefix) else {
                throw .nonsense("the listing of \(request.prefix) has \(key), which was not asked for")
            }
            previous = key
            end = key
        }
        return end
    }
}
