import HTTP
package import ThawCore
package import Wire

/// What is done with a configuration of a bucket.
package enum ConfigurationOperation: Sendable {
    case get
    case put([UInt8])
    case delete

    fileprivate var action: BucketConfiguration.Action {
        switch self {
        case .get: .get
        case .put: .put
        case .delete: .delete
        }
    }
}

extension ObjectStore {
    /// The bucket's document, as the provider wrote it; `noSuchConfiguration` when it has none.
    ///
    /// - Parameter place: the bucket, as a key of this store: empty, or `bucket/` in an account
    package func configuration(
        _ configuration: BucketConfiguration, of place: ObjectKey = .empty
    ) async throws(StoreError) -> [UInt8] {
        try await perform(.get, on: configuration, of: place)
    }

    /// Puts a document in the place of the one before. One that breaks a rule we know is `invalidRequest`, and not
    /// sent. Answers what the provider makes of it, if it says anything.
    @discardableResult
    package func setConfiguration(
        _ configuration: BucketConfiguration, _ body: [UInt8], of place: ObjectKey = .empty
    ) async throws(StoreError) -> [UInt8] {
        try await perform(.put(body), on: configuration, of: place)
    }

    package func deleteConfiguration(
        _ configuration: BucketConfiguration, of place: ObjectKey = .empty
    ) async throws(StoreError) {
        _ = try await perform(.delete, on: configuration, of: place)
    }

    package func perform(
        _ operation: ConfigurationOperation, on configuration: BucketConfiguration, of place: ObjectKey
    ) async throws(StoreError) -> [UInt8] {
        throw .unsupported("\(configuration.name) is not offered by this store")
    }
}

extension BucketStore {
    package func perform(
        _ operation: ConfigurationOperation, on configuration: BucketConfiguration, of place: ObjectKey
    ) async throws(StoreError) -> [UInt8] {
        guard place.isEmpty else { throw .unsupported("\(place) is no bucket") }
        guard let offer = configuration.kind.offer(in: dialect) else {
            throw .unsupported("\(configuration.name) is not offered by \(dialect.provider)")
        }
        guard offer.actions.contains(operation.action) else {
            throw .unsupported("\(configuration.name) can be read, and not changed so, at \(dialect.provider)")
        }
        var configuration = configuration
        if case .put(let body) = operation { configuration = try checked(configuration, body) }
        if case .delete = operation, configuration.kind.hasIDs, configuration.id == nil {
            throw .invalid("a bucket has several: say which one, as \(configuration.name).ID")
        }
        let request = configuration.kind == .backupPolicies
            ? policyRequest(operation, offer, configuration.id) : request(operation, offer, configuration.id)
        do throws(StoreError) {
            let exchange = configuration.kind == .backupPolicies ? policyExchange : exchange
            let body = try await exchange.send(request, expecting: [200, 201, 202, 204]).body
            guard case .get = operation, let entry = configuration.kind.entry, configuration.id == nil else {
                return body
            }
            return try await completed(body, of: configuration.kind, entry: entry) { place in
                StoreRequest(method: .get, query: [QueryItem(offer.subresource)] + place)
            }
        } catch {
            var error = error
            if error.status == 404, error.kind == .noSuchKey { error.kind = .noSuchConfiguration }
            throw error
        }
    }

    /// What is put, with the id that its document gives it.
    private func checked(
        _ configuration: BucketConfiguration, _ body: [UInt8]
    ) throws(StoreError) -> BucketConfiguration {
        do throws(ConfigurationProblem) {
            try BucketConfiguration.check(body, is: configuration.kind, in: dialect)
            guard configuration.kind == .inventory else { return configuration }
            let id = try BucketConfiguration.inventoryID(body)
            if let named = configuration.id, named != id {
                throw ConfigurationProblem("<Id> is “\(id)”; it must be “\(named)”, as it is named")
            }
            return BucketConfiguration(.inventory, id: id)
        } catch {
            throw .invalid("\(configuration.name): \(error)")
        }
    }

    private func request(
        _ operation: ConfigurationOperation, _ offer: BucketConfiguration.Offer, _ id: String?
    ) -> StoreRequest {
        var query = [QueryItem(offer.subresource)]
        if let name = offer.idParameter, let id { query.append(QueryItem(name, id)) }
        return switch operation {
        case .get: StoreRequest(method: .get, query: query)
        case .put(let body): StoreRequest(method: .put, query: query, body: .document(body))
        case .delete: StoreRequest(method: .delete, query: query)
        }
    }

    /// Backup policies are at a host of their own, which knows nothing but JSON.
    private func policyRequest(
        _ operation: ConfigurationOperation, _ offer: BucketConfiguration.Offer, _ id: String?
    ) -> StoreRequest {
        let path = "buckets/\(configuration.bucket)/\(offer.subresource)"
        let key = ObjectKey(id.map { "\(path)/\($0)" } ?? path)
        return switch operation {
        case .get: StoreRequest(method: .get, key: key)
        case .put(let body):
            StoreRequest(method: .post, key: key, body: .document(body, contentType: "application/json"))
        case .delete: StoreRequest(method: .delete, key: key)
        }
    }
}

extension StoreError {
    /// Refused here: nothing was sent.
    static func invalid(_ message: String) -> StoreError {
        StoreError(.invalidRequest, code: "InvalidConfiguration", message: message)
    }
}
