-- Written by hand in the shape of mysqldump --tab.
DROP TABLE IF EXISTS `vm_replication_contexts`;
CREATE TABLE `vm_replication_contexts` (
  `context_id` varchar(64) NOT NULL,
  `vm_name` varchar(255) NOT NULL,
  `vmware_vm_id` varchar(255) NOT NULL,
  `vcenter_host` varchar(255) NOT NULL,
  `current_status` enum('discovered','replicating','ready_for_failover','failed_over_test','failed_over_live','completed','failed','cleanup_required') NOT NULL,
  `total_jobs_run` int NOT NULL,
  `os_type` varchar(255) DEFAULT NULL,
  `created_at` timestamp NULL DEFAULT NULL,
  `first_job_at` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`context_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
