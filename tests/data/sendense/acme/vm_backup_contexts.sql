-- Written by hand in the shape of mysqldump --tab.
DROP TABLE IF EXISTS `vm_backup_contexts`;
CREATE TABLE `vm_backup_contexts` (
  `context_id` varchar(64) NOT NULL,
  `vm_name` varchar(255) NOT NULL,
  `vmware_vm_id` varchar(255) NOT NULL,
  `vcenter_host` varchar(255) NOT NULL,
  `repository_id` varchar(64) NOT NULL,
  `total_backups_run` int NOT NULL,
  `created_at` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`context_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
