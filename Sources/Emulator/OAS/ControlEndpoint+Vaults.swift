import ThawCore
import Wire

extension ControlEndpoint {
    /// Creates a vault, if there is none of this name; answers its id.
    func makeVault(_ json: JSON) throws(ProviderError) -> Reply {
        guard let name = json["name"]?.string else { throw .invalidArgument("vault wants a name.") }
        let now = service.now
        let vault = try service.catalog.perform { tables throws(ProviderError) in
            if let known = try tables.vault(named: name) { return known }
            let vault = Vault(
                id: try tables.newID(), name: name, created: now, inventoried: now, archiveCount: 0, sizeBytes: 0)
            try tables.insert(vault)
            return vault
        }
        return .json(["id": .string(vault.id)])
    }

    /// Puts an archive into a state, whatever led there: `frozen` ends its retrieval jobs, `restoring` makes one that
    /// is over after the span `for`, `restored` one whose output is there for that span. Without an archive it is an
    /// inventory of the vault as it is now.
    func setJob(_ json: JSON) throws(ProviderError) -> Reply {
        guard let name = json["vault"]?.string else { throw .invalidArgument("job wants a vault.") }
        let now = service.now
        let span = json["for"]?.string.flatMap { Duration(span: $0) }
        let ready: Timestamp?
        switch json["state"]?.string ?? "restored" {
        case "frozen": ready = nil
        case "restoring": ready = now + (span ?? .seconds(3600))
        case "restored": ready = now - ArchiveRules.oasOutputLife + (span ?? ArchiveRules.oasOutputLife)
        case let state: throw .invalidArgument("There is no state \(state).")
        }
        let freed = try service.catalog.perform { tables throws(ProviderError) in
            guard let vault = try tables.vault(named: name) else { throw .noSuch("Vault") }
            let archive = try json["archive"]?.string.map { id throws(ProviderError) in
                try tables.archive(id, in: vault)
            }
            guard let ready else { return try tables.dropJobs(of: archive?.id ?? "", in: vault) }
            let action: VaultJob.Action = archive == nil ? .inventoryRetrieval : .archiveRetrieval
            var job = VaultJob(
                id: try tables.newID(), action: action, created: min(now, ready - action.duration), ready: ready)
            if let archive {
                try job.take(archive, nil)
            } else {
                job.inventory = Exchange.inventory(of: vault, try tables.takeStock(of: vault, at: now), at: now)
            }
            try tables.store(job, of: vault, isNew: true)
            return []
        }
        service.blobs.remove(freed)
        return .json([:])
    }
}
