import ThawCore
import Wire

/// Vaults of Alibaba Archive Storage. The product is gone, and where its documents are silent the emulator does what
/// Glacier does: docs/notes/vaults.md names those points.
extension Exchange {
    /// Vaults of one account in one region (OAS API manual, "Vaults").
    private static let vaultsMax = 10
    /// How often the provider counts what is in a vault.
    private static let stockInterval = Duration.seconds(86400)

    func performOnVault() throws(ProviderError) -> Reply {
        switch operation {
        case .createVault: try createVault()
        case .deleteVault: try deleteVault()
        case .describeVault: .json(try withVault { _, vault in vault }.json)
        default: try listVaults()
        }
    }

    /// Runs `body` on the vault that the path names by its id, in one transaction.
    func withVault<Result: Sendable>(
        _ body: (CatalogTables, Vault) throws(ProviderError) -> Result
    ) throws(ProviderError) -> Result {
        let now = service.now
        return try service.catalog.perform { tables throws(ProviderError) in
            var vault = try tables.vault(request.bucketName ?? "")
            if now - vault.inventoried >= Self.stockInterval {
                _ = try tables.takeStock(of: vault, at: now)
                vault = try tables.vault(vault.id)
            }
            return try body(tables, vault)
        }
    }

    private func createVault() throws(ProviderError) -> Reply {
        let name = request.bucketName ?? ""
        guard Self.isVaultName(name) else {
            throw ProviderError(400, "InvalidVaultName", "The vault's name is not valid.")
        }
        let now = service.now
        let vault = try service.catalog.perform { tables throws(ProviderError) in
            if let known = try tables.vault(named: name) { return known }
            guard try tables.vaults().count < Self.vaultsMax else {
                throw ProviderError(403, "TooManyVaults", "There are \(Self.vaultsMax) vaults already.")
            }
            let vault = Vault(
                id: try tables.newID(), name: name, created: now, inventoried: now, archiveCount: 0, sizeBytes: 0)
            try tables.insert(vault)
            return vault
        }
        return Reply(201, headers: [("x-oas-vault-id", vault.id), ("Location", "/vaults/\(vault.id)")])
    }

    /// 3 to 63 of `[a-z0-9_-]`, a letter or digit at both ends.
    private static func isVaultName(_ name: String) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: false
            }
        }
        let bytes = Array(name.utf8)
        guard (3...63).contains(bytes.count), isAlphanumeric(bytes[0]), isAlphanumeric(bytes[bytes.count - 1]) else {
            return false
        }
        return bytes.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }
    }

    private func deleteVault() throws(ProviderError) -> Reply {
        try withVault { tables, vault throws(ProviderError) in try tables.remove(vault) }
        return Reply(204)
    }

    private func listVaults() throws(ProviderError) -> Reply {
        let now = service.now
        let vaults = try service.catalog.perform { tables throws(ProviderError) in
            for vault in try tables.vaults() where now - vault.inventoried >= Self.stockInterval {
                _ = try tables.takeStock(of: vault, at: now)
            }
            return try tables.vaults()
        }
        return .json(try page("VaultList", vaults.map { ($0.id, $0.json) }, limitMax: 10))
    }

    /// One page of a listing: what comes after the marker, in order of ids.
    func page(_ name: String, _ all: [(id: String, json: JSON)], limitMax: Int) throws(ProviderError) -> JSON {
        let limit = try request.number("limit", 1...limitMax, default: limitMax)
        let rest = all.filter { $0.id > request.parameter("marker") ?? "" }
        let page = Array(rest.prefix(limit))
        let marker = page.count < rest.count ? page.last?.id ?? "" : ""
        return .object(["Marker": .string(marker), name: .array(page.map(\.json))])
    }

    /// The word of the path after `archives`, `multipart-uploads` or `jobs`.
    var pathID: String {
        let words = request.key.bytes.split(separator: UInt8(ascii: "/"))
        return words.count > 1 ? String(decoding: words[1], as: UTF8.self) : ""
    }

    func headerNumber(_ name: String) throws(ProviderError) -> UInt64 {
        guard let number = request.header(name).flatMap({ UInt64($0) }) else {
            throw ProviderError(400, "MissingArgument", "\(name) is required, and a number.")
        }
        return number
    }
}
